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


def test_same_seed_same_bits_with_and_without_graphs() -> None:
    """The recorded graph that a CPU replays computes what the eager steps do, to the bit, resets included."""
    graphed, eager = (
        run_check("rollout_digest", *overrides).split("DIGEST ")[1][:64]
        for overrides in ((), ("env.sim.physics.use_cuda_graph=false",))
    )
    assert graphed == eager
