# SPDX-License-Identifier: BSD-3-Clause
"""One table and one picture of what finetune_lift.py recorded."""

from __future__ import annotations

import sys

import draw_lift
import pytest
from records import add_run


def result(rate: float) -> dict[str, object]:
    scores = {"success_rate": rate, "success_ci95": [rate - 0.05, rate + 0.05], "num_episodes": 512}
    return {"init_noise_1": scores}


@pytest.fixture
def study(tmp_path):
    """Two tasks, the first with two seeds in no order; and a run of GRPO, which is not PPO's."""
    file = tmp_path / "study.json"
    for task, seed, agent in (("B", 2, "ppo"), ("B", 1, "ppo"), ("A", 1, "ppo"), ("A", 3, "grpo")):
        curve = {"seconds": [60.0, 120.0], "env_steps": [1e6, 2e6], "success_rate": [0.2, 0.4]}
        record = {"task": task, "seed": seed, "iterations": 2, "after": result(0.9), "curve": curve}
        add_run(file, f"{task}_{agent}_seed{seed}", record)
    for task in "BA":
        add_run(file, f"{task}_ppo_base", result(0.3))
    return file


def test_table_and_picture(study, tmp_path, monkeypatch, capsys):
    picture = tmp_path / "new" / "lift.png"
    monkeypatch.setattr(sys, "argv", ["draw_lift.py", str(study), "--task", "A", "B", "--plot", str(picture)])
    draw_lift.main()
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[:2] for row in rows] == [["| `A`", "1"], ["| `B`", "1"], ["| `B`", "2"]]
    assert rows[0].endswith("| 2 | 2.0 | 2.00 M | 30.0 % [25.0, 35.0] | 90.0 % [85.0, 95.0] |")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_task_without_runs_is_named(study, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["draw_lift.py", str(study), "--task", "C"])
    with pytest.raises(SystemExit, match="no runs of C and its base"):
        draw_lift.main()
