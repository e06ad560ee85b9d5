# SPDX-License-Identifier: BSD-3-Clause
"""The error a user's own mistake ends in."""

import contextlib
import os
import sys
from collections.abc import Iterator


class ConfigurationError(SystemExit, ValueError):
    """A setting that cannot work: one line that says what is wrong, what was found and what to set.

    It is a :class:`SystemExit`, so that a run started from the command line ends with that line and exit status 1
    instead of a traceback, and a :class:`ValueError`, so that programs can catch it as one.
    """

    def __init__(self, message: str) -> None:
        """Store the message with its white space folded into one line."""
        super().__init__(" ".join(f"[gr00t_rl] {message}".split()))


@contextlib.contextmanager
def said_at_once() -> Iterator[None]:
    """Print a :class:`ConfigurationError` as it leaves the block, and flush what was printed.

    Python prints it when the process ends. Isaac Sim ends the process itself, as its launcher closes: nothing that is
    still to be printed then is seen. Nor is what Isaac Lab's loading screen holds back: the console is taken from it.
    """
    try:
        yield
    except ConfigurationError as error:
        if error.code != 1:
            screen = getattr(sys.modules.get("isaaclab.app.loading_screen"), "_active_screen", None)
            if screen is not None:
                screen.__exit__(None, None, None)  # as it does itself where startup fails, once
            print(error, file=sys.stderr)
            error.code = 1  # an exit status, and nothing to print
        if "TORCHELASTIC_ERROR_FILE" in os.environ:  # the launcher of several processes looks there
            from torch.distributed.elastic.multiprocessing.errors import get_error_handler

            get_error_handler().record_exception(error)
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def first_line(error: BaseException, length: int | None = None) -> str:
    """Return the first line of what an error says, cut to ``length`` characters; its type's name if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:length]


class NotWritten(ConfigurationError):
    """The disk does not take a file: it is full, read-only or gone. What was there before is still there."""
