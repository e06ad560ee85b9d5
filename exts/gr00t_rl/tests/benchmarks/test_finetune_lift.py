# SPDX-License-Identifier: BSD-3-Clause
"""The curve of a run that was continued, read from event files, and the study that a run is added to."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import draw_lift
import finetune_lift
import pytest
from finetune_lift import WARM_UP, join_curves, last_checkpoint
from records import read_study
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


def test_instructions_are_kept_and_drawn_apart(tmp_path):
    """Of a policy of several tasks: a curve, a row and two evaluations of each."""
    run = write_run(tmp_path / "run", 0, 6, 2.0)
    with SummaryWriter(str(run), filename_suffix=".more") as writer:
        for number in range(6):
            writer.add_scalar("charts/success_rate/push", number / 10, number)
    names = {"push": 0.2, "stack": 0.4}
    result = {key: 0 for key in finetune_lift.KEPT} | {"success_rate": 0.3, "success_ci95": [0.2, 0.4], "regions": {}}
    result["instructions"] = {
        name: {"success_rate": rate, "success_ci95": [0.1, 0.5], "num_episodes": 4, "time_to_success_s": {}}
        for name, rate in names.items()
    }
    kept = finetune_lift.headline(result)
    assert "regions" not in kept and kept["instructions"]["stack"] == {
        "success_rate": 0.4,
        "success_ci95": [0.1, 0.5],
        "num_episodes": 4,
    }
    evaluations = {"init_noise_1": kept}
    curve = join_curves([run], 5, finetune_lift.instructions_of(evaluations))
    assert curve["success_rate/push"] == [number / 10 for number in range(6)]
    assert all(math.isnan(value) for value in curve["success_rate/stack"])  # nothing was logged
    record = {"task": "T", "seed": 7, "iterations": 6, "after": evaluations, "curve": curve}
    lines = list(finetune_lift.lines_of(evaluations, record))
    assert [line[0] for line in lines] == ["push, seed 7", "stack, seed 7"]
    assert lines[0][1] == curve["success_rate/push"] and lines[1][2]["success_rate"] == 0.4
    printed = draw_lift.table({"T": (evaluations, [record])}).splitlines()[2:]
    assert printed[0].startswith("| `T` | 7 | 6 |") and printed[0].endswith("| 30.0 % [20.0, 40.0] |")
    assert printed[2] == "| stack | | | | | 40.0 % [10.0, 50.0] | 40.0 % [10.0, 50.0] |"


def test_checkpoint_of_a_run_that_went_on(tmp_path):
    for number in (0, 25, 50, 60):
        (tmp_path / f"model_{number}.pt").touch()
    assert last_checkpoint(tmp_path, 55) == (tmp_path / "model_50.pt", 50)
    assert last_checkpoint(tmp_path, 1000)[1] == 60


def test_a_run_is_added_to_its_study_once(tmp_path, monkeypatch, capsys):
    """The base is evaluated for the first seed alone, and what is in the study is neither trained nor evaluated."""
    evaluated = []

    def evaluate(args, checkpoint, scale, folder):
        evaluated.append((Path(checkpoint).name, scale))
        return {"success_rate": 0.5, "success_ci95": [0.4, 0.6], "num_episodes": 8}

    monkeypatch.setattr(finetune_lift, "evaluate", evaluate)
    run = write_run(tmp_path / "run", 0, 6, 2.0)
    (run / "model_5.pt").touch()
    args = argparse.Namespace(task="T", agent="rsl_rl_grpo_cfg_entry_point", run=[run], iterations=10, seeds=[1, 2])
    args.processes = 1
    args.init_noise = ["1", "0"]
    args.overrides, args.train_overrides, args.out = [], ["env.x=1"], tmp_path / "lift.json"
    for seed in (1, 2, 1):
        finetune_lift.make(args, seed)
    base, trained = [("base", "1"), ("base", "0")], [("model_5.pt", "1"), ("model_5.pt", "0")]
    assert evaluated == base + trained + trained
    assert list(read_study(args.out)) == ["T_grpo_base", "T_grpo_seed1", "T_grpo_seed2"]
    record = read_study(args.out)["T_grpo_seed2"]
    assert (record["seed"], record["iterations"], record["train_overrides"]) == (2, 6, ["env.x=1"])
    assert record["curve"]["success_rate"] == [number / 100 for number in range(6)]
    finetune_lift.report(args)
    assert "| seed 2 | 0.2 | 0.00 M | 50.0 % [40.0, 60.0] | 50.0 % [40.0, 60.0] |" in capsys.readouterr().out
