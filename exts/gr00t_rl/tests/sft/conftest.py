# SPDX-License-Identifier: BSD-3-Clause
"""Demonstrations of a closed-form policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gr00t_rl.data import DatasetWriter, Episode, Layout
from gr00t_rl.gr00t import ActionKey, Modality, StateKey

SIZE = 16
TEXTS = ("Reach.", "Go to the other side now.")


@pytest.fixture(params=["state", "camera"])
def modality(request: pytest.FixtureRequest) -> Modality:
    """Position and goal are the state; a camera variant sees the goal in the picture only."""
    goal = {"goal": StateKey("policy", 0, 2, normalization="mean_std")}
    return Modality(
        "robot",
        {"front": "front"} if request.param == "camera" else {},
        {"position": StateKey("policy", 2, 4)} | (goal if request.param == "state" else {}),
        {"gripper": ActionKey(2, 3), "arm": ActionKey(0, 2, absolute=False)},
    )


def picture(goal: torch.Tensor) -> torch.Tensor:
    """A picture [H, W, 3] whose red and green are the goal in [-1, 1]^2: a network sees colours within seconds."""
    red, green = (goal + 1) / 2
    color = torch.stack((red, green, torch.tensor(0.5))) * 255
    return color.round().to(torch.uint8).expand(SIZE, SIZE, 3)


def play(modality: Modality, generator: torch.Generator, text: str) -> Episode:
    """Steps of at most 0.2 straight to the goal, or to its mirror image for the second text; closes when there."""
    position, goal = (2.0 * torch.rand(2, generator=generator) - 1.0 for _ in range(2))
    observed, states, actions = goal, [], []
    target = goal if text == TEXTS[0] else -goal
    for _ in range(8):
        states.append(torch.cat((position, observed)) if "goal" in modality.state else position)
        step = (target - position).clamp(-0.2, 0.2)
        actions.append(torch.cat((step / 0.2, torch.tensor([1.0 if step.abs().max() < 0.2 else -1.0]))))
        position = position + step
    pictures = {key: picture(observed).expand(8, -1, -1, -1) for key in modality.video}
    told = goal.expand(8, -1)
    return Episode(pictures, torch.stack(states), torch.stack(actions), torch.zeros(8), text, True, privileged=told)


@pytest.fixture
def dataset(tmp_path: Path, modality: Modality) -> Callable[..., Path]:
    """Write episodes of the policy; half of them with the second text where ``texts`` is 2."""

    def write(episodes: int = 12, texts: int = 1, name: str = "dataset", seed: int = 0) -> Path:
        generator = torch.Generator().manual_seed(seed)
        cameras = {key: (SIZE, SIZE) for key in modality.video}
        layout = Layout.of(modality, cameras, 20.0, privileged=("goal_0", "goal_1"))
        writer = DatasetWriter(tmp_path / name, layout, {"seed": 0})
        for index in range(episodes):
            writer.add(play(modality, generator, TEXTS[index % texts]))
        writer.commit(1)
        return tmp_path / name

    return write
