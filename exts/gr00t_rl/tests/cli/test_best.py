# SPDX-License-Identifier: BSD-3-Clause
"""A run that evaluates itself, in the real kit-less simulator: its metrics, its best checkpoint, the same by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gr00t_rl.utils.event_files import read_scalars

NUM_ENVS = 4
PROGRAM = f"""
from gr00t_rl.cli import main

common = ["--task", "Gr00t-Reach-Franka", "--device", "cpu", "--num_envs", "{NUM_ENVS}", "env.episode_length_s=0.5"]
main(["train", *common, "--max_iterations", "2", "agent.evaluation_interval=1", "agent.num_steps_per_env=16"])
main(["evaluate", *common, "--checkpoint", "best", "--num_episodes", "{NUM_ENVS}", "--report", "none",
      "--json", "result.json"])
"""
"""One process, because starting a simulator takes longest."""


@pytest.mark.sim
def test_the_best_of_a_run_is_what_evaluate_finds(tmp_path: Path) -> None:
    """Its default seed is that of the run's own evaluations: the starts are the same, and so is the return."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    (best,) = tmp_path.glob("logs/rsl_rl/*/*/model_best.pt")
    assert sorted(file.name for file in best.parent.glob("*.pt")) == ["model_0.pt", "model_1.pt", "model_best.pt"]
    scalars = read_scalars(best.parent)
    assert scalars["charts/eval_episodes"] == {0: NUM_ENVS, 1: NUM_ENVS}
    assert scalars["charts/eval_success_rate"].keys() == scalars["perf/evaluation"].keys() == {0, 1}
    saved = torch.load(best, weights_only=True)
    number = saved["algorithm_state_dict"]["best"]["iteration"]
    assert saved["iter"] == number
    found = json.loads((tmp_path / "result.json").read_text())
    assert found["checkpoint"] == str(best)
    assert found["success_rate"] == pytest.approx(scalars["charts/eval_success_rate"][number])
    assert found["mean_return"] == pytest.approx(scalars["charts/eval_return"][number], abs=1e-6)
