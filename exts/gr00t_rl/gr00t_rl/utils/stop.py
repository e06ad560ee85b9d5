# SPDX-License-Identifier: BSD-3-Clause
"""SIGTERM asks a run to save its state and leave, as spot instances and job schedulers do before they take a machine.

A handler only notes the request. The algorithm looks at it where the state is consistent, and leaves by
:class:`Stopped`.
"""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self

RESTART_CODE = 75
"""Exit code that means "start me again": ``EX_TEMPFAIL`` of sysexits.h. Success is 0, errors are 1 and 2."""


class Stopped(SystemExit):
    """The end of a run that was asked to stop: the process leaves with :data:`RESTART_CODE`."""

    def __init__(self, message: str) -> None:
        """Keep the line that says which file to go on from."""
        super().__init__(RESTART_CODE)
        self.message = f"[gr00t_rl] {message}"


class StopRequest:
    """Notes SIGTERM for as long as a ``with`` block lasts; outside the main thread, which gets no signals, nothing."""

    begun = False
    """Whether this process has begun to train."""

    def __init__(self) -> None:
        self.asked = False
        """Whether the run was asked to stop."""
        self._previous: Any = None

    def __enter__(self) -> Self:
        StopRequest.begun = True
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.asked = True


def restart_on_sigterm() -> None:
    """Let SIGTERM end the process with :data:`RESTART_CODE` before there is anything to save.

    After the training it changes nothing: the process is on its way out, with an exit code of its own.
    """

    def leave(signum: int, frame: FrameType | None) -> None:
        if StopRequest.begun:
            return
        stopped = Stopped("stopped by SIGTERM before the training began")
        print(stopped.message, file=sys.stderr, flush=True)
        raise stopped

    signal.signal(signal.SIGTERM, leave)
