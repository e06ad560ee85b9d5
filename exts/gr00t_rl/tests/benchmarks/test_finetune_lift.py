# SPDX-License-Identifier: BSD-3-Clause
"""The curve of a run that was continued, read from event files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from finetune_lift import WARM_UP, join_curves, last_checkpoint
from torch.utils.tensorboard import SummaryWriter


def write_run(folder: Path, first: int, length: int, seconds: float) -> Path:
    """Write a run's events: ``seconds`` and 100 env steps per iteration, success a hundredth of its number."""
    with SummaryWriter(str(folder)) as writer:
        for number in range(first, first + length):
            writer.add_scalar("Perf/total_fps", 100 / seconds, number)
            writer.add_scalar("Perf/collection_time", 0.75 * seconds, number)
            writer.add_scalar("Perf/learning_time", 0.25 * seconds, number)
            writer.add_scalar("charts/success_rate", number / 100, number)
    return folder


def test_parts_make_up_one_run(tmp_path):
    """Iterations 0 to 9, continued from model_7: two iterations fall away, time goes on from the eighth."""
    runs = [write_run(tmp_path / "a", 0, 10, 2.0), write_run(tmp_path / "b", 8, 6, 4.0)]
    curve = join_curves(runs, 12)
    assert curve["iteration"] == list(range(13))
    assert curve["seconds"] == [2.0 * n for n in range(1, 9)] + [16 + 4.0 * n for n in range(1, 6)]
    assert curve["env_steps"] == pytest.approx([100 * n for n in range(1, 14)])
    unknown = [math.isnan(value) for value in curve["success_rate"]]
    assert unknown == [False] * 8 + [True] * WARM_UP + [False] * (5 - WARM_UP)
    assert curve["success_rate"][-1] == 0.12


def test_checkpoint_of_a_run_that_went_on(tmp_path):
    for number in (0, 25, 50, 60):
        (tmp_path / f"model_{number}.pt").touch()
    assert last_checkpoint(tmp_path, 55) == (tmp_path / "model_50.pt", 50)
    assert last_checkpoint(tmp_path, 1000)[1] == 60
