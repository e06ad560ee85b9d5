# SPDX-License-Identifier: BSD-3-Clause
"""Runs the programs in ``tasks/checks/``, which want a simulator and so a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

CHECKS = Path(__file__).parent / "tasks" / "checks"
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
