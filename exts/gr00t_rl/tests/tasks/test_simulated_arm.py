# SPDX-License-Identifier: BSD-3-Clause
"""The arm in the real, kit-less simulator; a file beside the other checks, so that two processes share them."""

import importlib.util

import pytest
from simulation_checks import run_check

pytestmark = pytest.mark.sim


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
