# SPDX-License-Identifier: BSD-3-Clause
"""What `gr00t-rl export` runs: a run's policy as a whole folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ..gr00t import CheckpointError, Gr00tNetwork, PolicySettings
from ..gr00t.checkpoint import CARD_FILE
from ..models.trained import run_settings, trained_network
from ..utils.errors import ConfigurationError
from .card import HUB_ID, Facts, model_card
from .hub import check_target, push
from .success import success_of


def export(file: Path, out: Path, base: str | None, dtype: str, hub: str | None) -> None:
    """Write a run's policy to the folder ``out``, with a model card, and upload it if asked to.

    Args:
        file: ``model_N.pt`` of the run.
        out: The folder; an existing checkpoint is replaced.
        base: Base weights, where they are no longer where the run found them.
        dtype: Type on disk.
        hub: ORG/NAME on the hub; None: nothing is uploaded.

    Raises:
        ConfigurationError: Something does not fit. Where the upload fails, the folder stays.
    """
    if hub is not None:
        check_target(hub)
    try:
        print(f"reading {file} and its base weights ...", flush=True)
        model = trained_network(file, base).to(getattr(torch, dtype))
        model.assets[CARD_FILE] = model_card(facts_of(file, model, out, dtype, base)).encode()
        print(f"writing {out} ...", flush=True)
        model.save_pretrained(out)
    except CheckpointError as error:
        raise ConfigurationError(str(error)) from None
    print(f"{out}: the policy of {file}, {dtype}; {CARD_FILE} says what it is")
    if hub is not None:
        print(f"uploading to {hub} ...", flush=True)
        print(f"{push(out, hub)}: private unless you made it public")


def facts_of(file: Path, model: Gr00tNetwork, out: Path, dtype: str, base: str | None) -> Facts:
    """Collect what the card tells of a run's policy."""
    agent, _ = run_settings(file)
    content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    started = content["actor_state_dict"]["base"]
    source = base or started["checkpoint"]
    # as it was loaded: a folder that is there comes before a name on the hub
    on_hub = HUB_ID.fullmatch(source) is not None and not Path(source).expanduser().exists()
    tensors = {tensor.data_ptr(): tensor.numel() for tensor in model.export_tensors().values()}  # tied ones once
    return Facts(
        name=out.resolve().name,
        generation=model.config.generation,
        parameters=sum(tensors.values()),
        dtype=dtype,
        base=source if on_hub else Path(source).name,
        base_on_hub=on_hub,
        fingerprint=started["fingerprint"],
        task=_task(file.parent),
        settings=PolicySettings.read(model.assets),
        training=_training(agent, started, content),
        success=success_of(file, content, started["checkpoint"]),
    )


def _task(folder: Path) -> str | None:
    """The run's task, as Isaac Lab writes it beside the checkpoints."""
    try:
        return json.loads((folder / "run.json").read_text(encoding="utf-8"))["task"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _training(agent: dict[str, Any], started: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run that matter to whoever uses its policy."""
    actor, algorithm = agent["actor"], agent.get("algorithm") or {}
    how = started.get("train", {})
    parts = ", ".join(f"{part}: {by}" for part, by in how.items())
    if "lora" in how.values():
        parts += f" (rank {started['lora_rank']}, alpha {started['lora_alpha']:g}, merged)"
    found = {
        "algorithm": str(algorithm.get("class_name", "")).rpartition(":")[2] or None,
        "iterations": content.get("iter", -1) + 1 or None,
        "trained": parts or None,
        "exploration head": actor.get("head"),
        "denoising steps": actor.get("num_inference_timesteps"),
        "executed steps of a chunk": actor.get("n_action_steps"),
        "scale of the initial noise": actor.get("init_noise_scale"),
    }
    return {name: value for name, value in found.items() if value is not None}
