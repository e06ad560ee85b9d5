# SPDX-License-Identifier: BSD-3-Clause
"""Loads once what all checks load, then forks a process for each check that is asked for: simulation_checks.py.

Every line of standard input is a check's name, its arguments and the files for its output, as JSON. The answer, a line
of standard output, is its exit status.
"""

import ctypes
import importlib
import json
import os
import runpy
import signal
import sys
import traceback
from pathlib import Path

CHECKS = Path(__file__).parent
PR_SET_PDEATHSIG = 1
TASKS = ("reach", "push", "pick_place", "stack", "cubes")
SHARED = (
    "simulated",
    "newton",
    "mujoco_warp",
    "isaaclab_newton.physics.mjwarp_manager",
    "isaaclab_rl.rsl_rl",
    "rsl_rl.runners",
    "gr00t_rl.models",
    "gr00t_rl.tasks.experts",
    *(f"gr00t_rl.tasks.{task}.config.franka.{task}_env_cfg" for task in TASKS),
)


def run(name: str, arguments: list[str], out: str, err: str) -> None:
    """Become the check: as ``python NAME.py ARGUMENTS >OUT 2>ERR`` would be, and end with the server."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for number, file in enumerate((os.devnull, out, err)):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = [name, *arguments]
    try:
        runpy.run_path(str(CHECKS / f"{name}.py"), run_name="__main__")  # one that passes ends the process itself
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # libraries print while they load
for module in SHARED:
    importlib.import_module(module)
threads = os.listdir("/proc/self/task")
assert len(threads) == 1, f"{len(threads)} threads run, and only one of them would live on in a fork"
sys.stdout.flush()

for line in sys.stdin:
    child = os.fork()
    if not child:
        run(*json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)
