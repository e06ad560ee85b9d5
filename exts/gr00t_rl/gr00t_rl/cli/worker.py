# SPDX-License-Identifier: BSD-3-Clause
"""One of the processes of ``gr00t-rl train --processes N``; it is started by torch's launcher, not by hand."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from ..launch.processes import agreed_timestamp, run_timestamp
from ..utils.stop import restart_on_sigterm
from .simulated import run_isaac_lab

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> int:
    """Train as one of several processes; returns the exit status."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody is left behind by a launcher that was killed
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    restart_on_sigterm()
    if os.environ["RANK"] != "0":
        argv = [arg for arg in argv if arg != "--video"]
        if os.environ["LOCAL_RANK"] == "0":  # of another machine; the launcher has put the others' output into files
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not any(arg.startswith("--run_timestamp") for arg in argv):
        argv = [*argv, f"--run_timestamp={agreed_timestamp(run_timestamp())}"]
    return run_isaac_lab("train", argv)


def _recorded() -> int:
    """Run :func:`main`, and leave what ended it where the launcher looks for it."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    handler = get_error_handler()
    handler.initialize()
    try:
        return main(sys.argv[1:])
    except SystemExit as end:
        if isinstance(end.code, str):
            handler.record_exception(ValueError(end.code))
        raise
    except Exception as error:
        handler.record_exception(error)
        raise


if __name__ == "__main__":
    sys.exit(_recorded())
