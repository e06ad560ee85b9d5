# SPDX-License-Identifier: BSD-3-Clause
"""Small checkpoints and runs of both generations, and the actor that evaluation would make of each."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from tensordict import TensorDict

from gr00t_rl.gr00t import (
    METADATA_FILE,
    ActionKey,
    Gr00tN1d5,
    Gr00tN1d5Config,
    Gr00tN1d7,
    Gr00tN1d7Config,
    Gr00tN1d7Processor,
    Modality,
    PolicySettings,
    StateKey,
    Statistics,
    n1d5,
    n1d7,
    tokenizer_assets,
)
from gr00t_rl.gr00t.checkpoint import SETTINGS_FILE
from gr00t_rl.models import Gr00tActor
from gr00t_rl.serving.observation import Observation

PARTS = ("video", "state")
SIDE, HORIZON, STEPS, DENOISING = 32, 6, 3, 2
TEXTS = ["push the cube", "stack the red cube on the blue one"]
N1D5 = Modality(
    "new_embodiment",
    {"wrist": "hand_camera", "front": "front"},
    {"arm": StateKey("policy", 1, 3), "yaw": StateKey("pose", 0, 1, None, sin_cos=True)},
    {"gripper": ActionKey(2, 3), "delta": ActionKey(0, 2, "mean_std")},
)
"""Keys in another order than the env's columns, normalised in three ways."""
N1D7 = Modality(
    "robot",
    {"front": "front"},
    {"speed": StateKey("policy", 3, 4), "arm": StateKey("policy", 0, 2), "hand": StateKey("policy", 2, 3)},
    {"hand": ActionKey(0, 1), "arm": ActionKey(1, 3, relative_to="arm")},
)
"""The arm's actions are relative to its state."""
BLIND = dataclasses.replace(N1D5, video={})


class Case(NamedTuple):
    """A checkpoint, and what is known of it."""

    folder: Path
    modality: Modality

    @property
    def settings(self) -> PolicySettings:
        sizes: dict[str, tuple[int, int]] = dict.fromkeys(self.modality.video, (SIDE, SIDE))
        return PolicySettings(self.modality, 0, STEPS, DENOISING, 1.0, TEXTS, sizes, 20.0)


def write_case(name: str, folder: Path) -> Case:
    """Write a checkpoint without our settings file: "n1.5", "n1.5 blind" (no camera) or "n1.7"."""
    (_write_n1d7 if name == "n1.7" else _write_n1d5)(folder)
    return Case(folder, {"n1.5": N1D5, "n1.5 blind": BLIND, "n1.7": N1D7}[name])


def _write_n1d5(folder: Path) -> None:
    config = Gr00tN1d5Config.tiny(action_horizon=HORIZON, image_size=SIDE, patch_size=8)
    model = Gr00tN1d5.from_config(config, seed=0)
    statistics = {
        "state": {"arm": {"min": [0.0, -4.0], "max": [10.0, 2.0]}},
        "action": {"gripper": {"min": [0.0], "max": [0.08]}, "delta": {"mean": [0.4, -0.1], "std": [0.2, 0.5]}},
    }
    metadata = {"new_embodiment": {"statistics": statistics, "modalities": {}, "embodiment_tag": "new_embodiment"}}
    model.assets = tokenizer_assets(n1d5.tiny_tokenizer(config)) | {METADATA_FILE: json.dumps(metadata).encode()}
    model.save_pretrained(folder)


def _write_n1d7(folder: Path) -> None:
    config = Gr00tN1d7Config.tiny(action_horizon=HORIZON, image_size=SIDE, patch_size=4)
    model = Gr00tN1d7.from_config(config, seed=0)
    model.assets = tokenizer_assets(n1d7.tiny_tokenizer(config))
    steps = torch.arange(1, HORIZON + 1)[:, None]
    statistics = Statistics(
        {"speed": _spread(-torch.ones(1)), "arm": _spread(-torch.ones(2)), "hand": _spread(-torch.ones(1))},
        {"hand": _spread(torch.zeros(1)), "arm": _spread(-torch.ones(2))},
        {"arm": _spread(steps * torch.tensor([-0.1, -0.2]))},
    )
    model.assets = Gr00tN1d7Processor.with_statistics(
        model.assets, config, N1D7, statistics, {key: (SIDE, SIDE) for key in N1D7.video}, 20.0, embodiment_id=0
    )
    model.save_pretrained(folder)


def _spread(low: torch.Tensor) -> dict[str, torch.Tensor]:
    """All statistics of numbers between ``low`` and ``low + 1``."""
    mean, std = low + 0.5, torch.full_like(low, 0.25)
    return {"min": low, "max": low + 1, "mean": mean, "std": std, "q01": low, "q99": low + 1}


# -- what evaluation does ---------------------------------------------------------------------------------------------


def env_observations(modality: Modality, batch: int = 3, seed: int = 0) -> TensorDict:
    """What an env shows, by its own groups; the instruction of each row is another than its neighbour's."""
    generator = torch.Generator().manual_seed(seed)
    obs = TensorDict({"policy": torch.rand(batch, 4, generator=generator)}, [batch])
    obs["pose"] = torch.randn(batch, 1, generator=generator)
    for group in modality.video.values():
        obs[group] = torch.randint(0, 256, (batch, SIDE, SIDE, 3), dtype=torch.uint8, generator=generator)
    obs["instruction"] = torch.arange(batch)[:, None] % 2
    return obs


def served_observation(modality: Modality, obs: TensorDict) -> Observation:
    """The same for a served policy."""
    state = modality.select_state(obs).numpy()  # pyright: ignore[reportArgumentType]
    images = [image.numpy() for image in modality.views(obs)]  # pyright: ignore[reportArgumentType]
    return Observation(images, state, [TEXTS[int(row)] for row in obs["instruction"]])


def flat_request(modality: Modality, obs: TensorDict, row: int | None = None) -> dict[str, Any]:
    """The same as N1.5's clients send it: of all robots, [B, T=1, ...], or of the one in ``row``, [T=1, ...]."""
    arrays = {f"video.{key}": obs[group] for key, group in modality.video.items()}
    arrays |= {f"state.{name}": obs[key.group][:, key.start : key.end] for name, key in modality.state.items()}
    texts = [TEXTS[int(number)] for number in obs["instruction"]]
    if row is None:
        request: dict[str, Any] = {name: value[:, None].numpy() for name, value in arrays.items()}
    else:
        request, texts = {name: value[row : row + 1].numpy() for name, value in arrays.items()}, [texts[row]]
    return request | {"annotation.human.action.task_description": texts}


def nested_request(modality: Modality, obs: TensorDict) -> dict[str, Any]:
    """The same as N1.7's clients send it."""
    flat = flat_request(modality, obs)
    parts = {part: {key.split(".", 1)[1]: v for key, v in flat.items() if key.startswith(part)} for part in PARTS}
    (texts,) = (value for key, value in flat.items() if key.startswith("annotation"))
    observation = {**parts, "language": {"annotation.human.task_description": [[text] for text in texts]}}
    return {"observation": observation, "options": None}


def make_actor(case: Case, **settings: Any) -> Gr00tActor:
    """The actor that evaluation would make of a checkpoint."""
    modality = case.modality
    groups = {"actor": [*modality.groups, "instruction"], "critic": ["policy"]}
    known = {"n_action_steps": STEPS, "num_inference_timesteps": DENOISING, "modality": dataclasses.asdict(modality)}
    return Gr00tActor(
        env_observations(modality),
        groups,
        "actor",
        3,
        checkpoint=str(case.folder),
        **{**known, "instruction": TEXTS, **settings},
    )


@torch.no_grad()
def chunk_of(actor: Gr00tActor, obs: TensorDict, noise: torch.Tensor) -> np.ndarray:
    """What ``act_chunk`` returns for an initial noise."""
    actor.initial_noise = lambda batch: noise  # type: ignore[method-assign]
    return actor.act_chunk(obs).numpy()


def write_run(case: Case, actor: Gr00tActor, folder: Path, **settings: Any) -> Path:
    """Move what an actor trains, and leave a run's folder as the runner and Isaac Lab's ``train`` do.

    The order of keys in agent.yaml counts: it is that of the modality.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in actor.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    known = {"checkpoint": str(case.folder), "n_action_steps": STEPS, "num_inference_timesteps": DENOISING}
    known |= {"modality": dataclasses.asdict(case.modality), **settings}
    (folder / "params").mkdir(parents=True)
    (folder / "params" / "agent.yaml").write_text(yaml.safe_dump({"actor": known}, sort_keys=False))
    env = {"camera_size": SIDE, "decimation": 3, "sim": {"dt": 1 / 60}, "instruction": TEXTS[0]}
    (folder / "params" / "env.yaml").write_text(yaml.safe_dump(env))
    torch.save({"actor_state_dict": actor.state_dict(), "iter": 7}, folder / "model_7.pt")
    return folder / "model_7.pt"


def with_settings(case: Case, folder: Path, settings: PolicySettings | None = None) -> Path:
    """A copy of the checkpoint that has our settings file beside it, as exports have."""
    (folder / SETTINGS_FILE).parent.mkdir(parents=True)
    for file in case.folder.rglob("*"):
        if file.is_file():
            target = folder / file.relative_to(case.folder)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(file.read_bytes())
    (folder / SETTINGS_FILE).write_bytes((settings or case.settings).to_bytes())
    return folder
