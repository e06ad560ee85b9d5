# SPDX-License-Identifier: BSD-3-Clause
"""Small datasets of random numbers and pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from data_episodes import make_episode

from gr00t_rl.data import DatasetWriter, Episode, Layout, Slice

LENGTHS = (4, 3, 5)


@pytest.fixture
def layout() -> Layout:
    """Two cameras of different size, joints and a gripper, changes of the arm and a gripper command."""
    return Layout(
        cameras={"front": (16, 24), "wrist": (8, 8)},
        state={"joints": Slice(0, 2), "gripper": Slice(2, 3)},
        action={"arm": Slice(0, 2, absolute=False), "gripper": Slice(2, 3)},
        fps=20.0,
    )


@pytest.fixture(name="make_episode")
def _make_episode() -> Callable[..., Episode]:
    return make_episode


@pytest.fixture
def episodes(layout: Layout) -> list[Episode]:
    """Three episodes of two instructions; the second failed."""
    texts = ("reach the ball", "push the cube", "reach the ball")
    return [make_episode(layout, n, i, texts[i], i != 1) for i, n in enumerate(LENGTHS)]


@pytest.fixture
def write(tmp_path: Path, layout: Layout) -> Callable[..., Path]:
    """Write episodes as a dataset and return its folder."""

    def write_dataset(episodes: list[Episode], name: str = "dataset", layout: Layout = layout) -> Path:
        writer = DatasetWriter(tmp_path / name, layout, {"seed": 0})
        for episode in episodes:
            writer.add(episode)
        writer.commit(1)
        return tmp_path / name

    return write_dataset
