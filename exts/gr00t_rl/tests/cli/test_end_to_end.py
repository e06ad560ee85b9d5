# SPDX-License-Identifier: BSD-3-Clause
"""From nothing to a measured policy by the command alone, in the real kit-less simulator, from an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TASK = "Gr00t-Reach-Franka"


EXPORT_AND_EVALUATE = """
import sys
from gr00t_rl.cli import main

task, model = sys.argv[1:]
main(["export", "--checkpoint", model, "--out", "lifted", "--dtype", "float32"])
main(["evaluate", "--task", task, "--checkpoint", "lifted", "--num_episodes", "4", "--num_envs", "4",
      "--report", "none", "--json", "result.json"])
"""
"""One process, because loading Isaac Lab takes longest."""


def call(folder: Path, *arguments: str) -> str:
    """Run ``gr00t-rl`` in ``folder`` and return what it printed."""
    return run(folder, "-m", "gr00t_rl", *arguments)


def run(folder: Path, *arguments: str) -> str:
    """Run Python in ``folder`` and return what it printed."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.mark.sim
def test_collect_finetune_train_export_evaluate(tmp_path: Path) -> None:
    """Each command's output is the next one's input."""
    call(tmp_path, *("collect", "--task", TASK, "--episodes", "5", "--num_envs", "4", "--out", "data", "--noise", "0"))
    assert len((tmp_path / "data" / "meta" / "episodes.jsonl").read_text().splitlines()) == 5
    call(tmp_path, *("finetune", "--dataset", "data", "--task", TASK, "--checkpoint", "tiny", "--out", "base"),
         *("--steps", "2", "--held_out", "0"))  # fmt: skip
    # by two processes, of which one writes
    call(tmp_path, *("train", "--task", TASK, "--num_envs", "4", "--max_iterations", "1", "--processes", "2"),
         *("agent.actor.checkpoint=base", "agent.num_steps_per_env=16"))  # fmt: skip
    (model,) = tmp_path.glob("logs/rsl_rl/*/*/model_0.pt")
    assert not list(model.parent.glob("rank_*")) and len(list(model.parent.glob("params/*.yaml"))) == 2
    run(tmp_path, "-c", EXPORT_AND_EVALUATE, TASK, str(model))
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["num_episodes"] == 4 and result["checkpoint"] == "lifted"
