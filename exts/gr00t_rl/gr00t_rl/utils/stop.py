# SPDX-License-Identifier: BSD-3-Clause
"""SIGTERM asks a run to save its state and leave, as spot instances and job schedulers do before they take a machine.

Ctrl-C does the same, but is no request to be started again. A handler only notes the request. The algorithm looks at
it where the state is consistent, and leaves by :class:`Stopped`.
"""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self

RESTART_CODE = 75
"""Exit code that means "start me again": ``EX_TEMPFAIL`` of sysexits.h. Success is 0, errors are 1 and 2."""
INTERRUPTED_CODE = 128 + signal.SIGINT
"""Exit code after Ctrl-C, 130 as in a shell: whoever pressed it does not want the run started again."""


class Stopped(SystemExit):
    """The end of a run that was asked to stop: the process leaves with :data:`RESTART_CODE`, after Ctrl-C with 130."""

    def __init__(self, message: str, code: int = RESTART_CODE) -> None:
        """Keep the line that says which file to go on from."""
        super().__init__(code)
        self.message = f"[gr00t_rl] {message}"


class StopRequest:
    """Notes SIGTERM and Ctrl-C for as long as a ``with`` block lasts.

    Outside the main thread, which gets no signals, it notes nothing; nor Ctrl-C where somebody else has a use for it or
    ignores it. A second Ctrl-C ends the run at once.
    """

    begun = False
    """Whether this process has begun to train."""

    def __init__(self) -> None:
        self.asked = False
        """Whether the run was asked to stop."""
        self.by = signal.SIGTERM
        """What it was asked by."""
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        StopRequest.begun = True
        if threading.current_thread() is threading.main_thread():
            noted = [signal.SIGTERM]
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                noted.append(signal.SIGINT)
            self._previous = {number: signal.signal(number, self._note) for number in noted}
        return self

    @property
    def code(self) -> int:
        """Exit code of the process."""
        return RESTART_CODE if self.by == signal.SIGTERM else INTERRUPTED_CODE

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.asked, self.by = True, signal.Signals(signum)
        if signum == signal.SIGINT:
            signal.signal(signum, signal.default_int_handler)
            print(
                "\n[gr00t_rl] stopping; the state is saved first (Ctrl-C again: at once)", file=sys.stderr, flush=True
            )


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
