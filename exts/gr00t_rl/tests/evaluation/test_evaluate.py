# SPDX-License-Identifier: BSD-3-Clause
"""The command: in the real kit-less simulator, and what is refused before anything starts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gr00t_rl.cli.evaluate import build_parser, check_arguments

ROOT = Path(__file__).parents[4]


@pytest.mark.sim
def test_same_command_same_result(tmp_path) -> None:
    """Base weights of Reach, noise as trained: two calls agree to the bit, and the keys are there."""
    results = []
    # An empty GPU list: the same bits everywhere.
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    for name in ("first", "second"):
        file = tmp_path / f"{name}.json"
        command = [
            *(sys.executable, str(ROOT / "scripts" / "rsl_rl" / "evaluate.py"), "--task", "Gr00t-Reach-Franka"),
            *("--checkpoint", "base", "--num_episodes", "10", "--num_envs", "8", "--seed", "3", "--report", "none"),
            *("--json", str(file), "agent.actor.init_noise_scale=1"),
        ]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        assert "success [95 % interval]" in done.stdout
        results.append(json.loads(file.read_text()))
    first, second = results
    assert first.pop("timing")["env_steps_per_s"] > 0
    second.pop("timing")
    assert first == second
    assert first["num_episodes"] == 10 and first["seed"] == 3 and first["init_noise_scale"] == 1.0
    assert 0.0 <= first["success_ci95"][0] <= first["success_rate"] <= first["success_ci95"][1] <= 1.0
    # an episode of Reach lasts 60 env steps unless it succeeds
    assert first["mean_length"] == 60.0 or first["success_rate"] > 0
    assert sum(map(sum, first["regions"]["goal"]["episodes"])) == 10


@pytest.mark.parametrize(
    "argv",
    [
        ["--num_episodes", "0"],
        ["--num_envs", "-1"],
        ["--video", "--report", "none"],
        ["--json", "{file}/r.json"],
        ["--report", "{file}"],
    ],
)
def test_arguments_that_cannot_work_are_refused(tmp_path, argv) -> None:
    file = tmp_path / "file"
    file.touch()
    args = build_parser().parse_args(["--task", "T", *(arg.format(file=file) for arg in argv)])
    with pytest.raises(ValueError, match="--") as refusal:
        check_arguments(args)
    assert "\n" not in str(refusal.value)
