# SPDX-License-Identifier: BSD-3-Clause
"""The tasks in the real, kit-less simulator. Each check is a program in ``checks/`` with a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.sim

CHECKS = Path(__file__).parent / "checks"
PASSED = "CHECKS PASSED"


def run_check(name: str, *args: str) -> str:
    """Standard output of a check; fails with its last words if it did not pass."""
    # An empty GPU list: the same bits everywhere.
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(CHECKS / f"{name}.py"), *args], capture_output=True, text=True, timeout=600, env=env
    )
    assert done.returncode == 0 and PASSED in done.stdout, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_reach_state() -> None:
    run_check("reach_state")


def test_push_camera() -> None:
    run_check("push_camera")


def test_bad_env() -> None:
    run_check("bad_env")


def test_options() -> None:
    run_check("options")


@pytest.mark.parametrize("task", ["ours", "stock"])
def test_shared_starts(task: str) -> None:
    run_check("shared_starts", task)


def test_same_seed_same_bits() -> None:
    first, second = (run_check("rollout_digest").split("DIGEST ")[1][:64] for _ in range(2))
    assert first == second


def skip_without(physics: str) -> None:
    if physics == "ovphysx" and importlib.util.find_spec("ovphysx") is None:
        pytest.skip("ovphysx is not installed")


@pytest.mark.parametrize("physics", ["newton_mjwarp", "ovphysx"])
def test_servo(physics: str) -> None:
    skip_without(physics)
    run_check("servo", physics)


@pytest.mark.parametrize("physics", ["newton_mjwarp", "ovphysx"])
@pytest.mark.parametrize("task", ["Gr00t-Pick-Place-Cube-Franka-Camera", "Gr00t-Stack-Cube-Franka-Camera"])
def test_grasping(task: str, physics: str) -> None:
    skip_without(physics)
    run_check("grasping", task, physics)
