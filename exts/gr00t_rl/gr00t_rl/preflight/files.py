# SPDX-License-Identifier: BSD-3-Clause
"""Checks of what a run reads from disk: checkpoints, tokenizers and the statistics in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..utils.errors import ConfigurationError


def check_resume(cfg: Any) -> None:
    """Check that a run is resumed by what Isaac Lab heeds, from a checkpoint file that is whole and one of ours."""
    if getattr(cfg, "resume", False):
        raise ConfigurationError(
            "agent.resume=True, which Isaac Lab's train ignores: the run would start anew; "
            "remove it and resume with --checkpoint FILE, latest or best"
        )
    checkpoint = getattr(cfg, "load_checkpoint", None)
    if checkpoint and "gr00t_rl" in cfg.algorithm.class_name and Path(checkpoint).is_file():
        from ..utils.runner_files import check_readable  # loads rsl_rl's runner

        check_readable(checkpoint)


def check_checkpoint(actor: Any) -> None:
    """Check that the checkpoint's folder exists and that its sizes fit the settings."""
    folder = Path(actor.checkpoint).expanduser()
    if _is_hub_id(actor.checkpoint):
        return
    if not folder.is_dir():
        raise ConfigurationError(
            f"agent.actor.checkpoint={actor.checkpoint!r} is no folder and no hub id 'org/name'; set a GR00T N1.5 "
            "checkpoint, or 'tiny' for a small random network"
        )
    try:
        head = json.loads((folder / "config.json").read_text())["action_head_cfg"]
        horizon, embodiments = head["action_horizon"], head["max_num_embodiments"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"agent.actor.checkpoint={actor.checkpoint!r} has no readable config.json of GR00T N1.5 ({error}); set the "
            "folder that holds config.json and the *.safetensors files"
        ) from None
    limits = (
        ("n_action_steps", actor.n_action_steps <= horizon, f"at most the checkpoint's action horizon {horizon}"),
        ("embodiment_id", actor.embodiment_id < embodiments, f"from 0 to {embodiments - 1}, those of the checkpoint"),
    )
    for name, holds, expected in limits:
        if not holds:
            raise ConfigurationError(f"agent.actor.{name} is {getattr(actor, name)!r}; set {expected}")


def check_tokenizer(actor: Any) -> None:
    """Check that the folder of the tokenizer's assets exists and holds a tokenizer."""
    tokenizer = getattr(actor, "tokenizer", None)
    if tokenizer is None or _is_hub_id(tokenizer):
        return
    if not (Path(tokenizer).expanduser() / "tokenizer_config.json").is_file():
        raise ConfigurationError(
            f"agent.actor.tokenizer is {tokenizer!r}, which has no tokenizer_config.json; set the folder or hub id of "
            "the Eagle tokenizer assets"
        )


def _is_hub_id(name: str) -> bool:
    """Return whether a name that is no folder can be a hub id; it is fetched when the model is built."""
    parts = name.split("/")
    return not Path(name).expanduser().is_dir() and len(parts) == 2 and all(parts) and not name.startswith((".", "~"))


def check_modality(actor: Any, groups: list[str]) -> None:
    """Check the actor's modality against its observation groups and the checkpoint's statistics.

    Widths are compared when the actor is built: the env's groups and action are known then.
    """
    modality = getattr(actor, "modality", None)
    if modality is None:
        return
    from ..gr00t import METADATA_FILE, Modality, read_statistics  # loads transformers, which only this needs

    folder, file = Path(actor.checkpoint).expanduser(), None
    try:
        keys = Modality.from_dict(modality.to_dict() if hasattr(modality, "to_dict") else modality)
        keys.check_groups(groups)
        if actor.checkpoint == "tiny" or folder.is_dir():  # a hub id is fetched when the model is built
            file = folder / METADATA_FILE
            read_statistics(file.read_bytes() if file.is_file() else None, keys)
    except ValueError as error:
        raise ConfigurationError(f"agent.actor.modality.{error}") from None
    except OSError as error:
        raise ConfigurationError(f"agent.actor.checkpoint: {file} cannot be read ({error}); copy it again") from None
