# SPDX-License-Identifier: BSD-3-Clause
"""The package of a robot of one's own, which `gr00t-rl new` writes and docs/own_task.md follows."""

import pytest
from simulation_checks import run_check


@pytest.mark.sim
def test_example_from_demonstrations_to_ppo() -> None:
    run_check("example")
