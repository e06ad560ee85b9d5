# SPDX-License-Identifier: BSD-3-Clause
"""Runs the programs in ``tasks/checks/``, which want a simulator and so a process of their own."""

import atexit
import json
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKS = Path(__file__).parent / "tasks" / "checks"
PASSED = "CHECKS PASSED"
LIMIT_S = 600

_servers: list[subprocess.Popen[str]] = []
"""None yet, or the one of this test process."""


def _server() -> subprocess.Popen[str]:
    """What forks a process for every check: loading torch, Warp and Isaac Lab takes as long as most checks."""
    if _servers and _servers[0].poll() is not None:
        _servers.clear()
    if not _servers:
        # An empty GPU list: the same bits everywhere. One thread each, because other threads do not live on in a fork.
        one = {"OMP_NUM_THREADS": "1", "PXR_WORK_THREAD_LIMIT": "1", "CUDA_VISIBLE_DEVICES": ""}
        server = subprocess.Popen(
            [sys.executable, str(CHECKS / "server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **one},
        )
        atexit.register(server.kill)
        _servers.append(server)
    return _servers[0]


def run_check(name: str, *args: str) -> str:
    """Standard output of a check; fails with its last words if it did not pass."""
    server = _server()
    assert server.stdin and server.stdout
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        server.stdin.write(json.dumps([name, args, str(out), str(err)]) + "\n")
        server.stdin.flush()
        ready, _, _ = select.select([server.stdout], [], [], LIMIT_S)
        status = server.stdout.readline().strip() if ready else f"still running after {LIMIT_S} s"
        printed = [file.read_text() if file.is_file() else "" for file in (out, err)]
    if status != "0":
        _servers.clear()  # a check that goes on forever must not block the next ones
        server.kill()
    assert status == "0" and PASSED in printed[0], f"{status}\n{printed[0][-2000:]}\n{printed[1][-4000:]}"
    return printed[0]
