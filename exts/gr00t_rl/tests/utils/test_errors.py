# SPDX-License-Identifier: BSD-3-Clause
"""The error of a user's mistake ends a command with one line and status 1, and can be caught."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gr00t_rl.utils.errors import ConfigurationError, first_line


def test_text_is_one_line():
    assert str(ConfigurationError("a\n   b\tc")) == "[gr00t_rl] a b c"


@pytest.mark.parametrize("kind", [SystemExit, ValueError])
def test_can_be_caught_as(kind):
    with pytest.raises(kind):
        raise ConfigurationError("wrong")


def test_ends_a_process_without_a_traceback(tmp_path):
    code = "import runpy, sys; E = runpy.run_path(sys.argv[1])['ConfigurationError']; raise E('set\\nx')"
    file = sys.modules[ConfigurationError.__module__].__file__
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "[gr00t_rl] set x\n")


@pytest.mark.parametrize(
    ("message", "length", "shown"),
    [
        ("no space", None, "no space"),
        ("\n  first\nsecond", None, "first"),
        ("first\r\nsecond", None, "first"),
        ("abcdef", 3, "abc"),
        ("", None, "OSError"),
        (" \n ", 4, "OSEr"),
    ],
)
def test_first_line(message, length, shown):
    """Of errors that say nothing, the type's name."""
    assert first_line(OSError(message), length) == shown
