# SPDX-License-Identifier: BSD-3-Clause
"""The tasks in the real, kit-less simulator. Each check is a program in ``checks/`` with a process of its own."""

import pytest
from simulation_checks import run_check

pytestmark = pytest.mark.sim


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
