# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark of several processes: pairs in alternating order, and the median of their ratios."""

from __future__ import annotations

from pathlib import Path

import processes
import pytest

ARGS = ["--task", "T", "--processes", "2", "--pairs", "3", "agent.seed=1"]


def test_ratio_is_the_median_over_pairs(tmp_path, monkeypatch):
    """Of 180 / 100, 160 / 80 and 90 / 60; the order turns from pair to pair."""
    args = processes.build_parser().parse_intermixed_args(ARGS)
    speeds = {1: [100.0, 80.0, 60.0], 2: [180.0, 160.0, 90.0]}
    order = []

    def train(args, count: int, folder: Path) -> dict[str, float]:
        order.append(count)
        return {"env_steps_per_s": speeds[count].pop(0), "load": 1.0}

    monkeypatch.setattr(processes, "train", train)
    result = processes.compare(args, tmp_path)
    assert order == [1, 2, 2, 1, 1, 2]
    assert result["ratios"] == pytest.approx([1.8, 2.0, 1.5]) and result["ratio"] == pytest.approx(1.8)
    assert [run["env_steps_per_s"] for run in result["together"]] == [180.0, 160.0, 90.0]
