# SPDX-License-Identifier: BSD-3-Clause
"""The error of a user's mistake ends a command with one line and status 1, and can be caught."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gr00t_rl.utils.errors import ConfigurationError, first_line, said_at_once


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


def test_an_error_is_said_before_a_launcher_ends_the_process(tmp_path):
    """As Isaac Sim does while it closes: what Python would print at the end of the process is never seen."""
    code = """
import contextlib, os, sys
from gr00t_rl.utils.errors import ConfigurationError, said_at_once

@contextlib.contextmanager
def kit(ends):
    try:
        yield
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
        raise
    finally:
        if ends:
            os._exit(status)

with kit(sys.argv[1] == "1"), said_at_once():
    print("half a line", end="")
    raise ConfigurationError("num_envs is 0; set 1")
"""
    for ends in ("0", "1"):
        done = subprocess.run([sys.executable, "-c", code, ends], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (1, "half a line", "[gr00t_rl] num_envs is 0; set 1\n")


def test_an_error_is_not_held_back_by_the_loading_screen(monkeypatch):
    """On a terminal, Isaac Lab spools what is printed while a run starts, and shows it as its screen ends."""
    from isaaclab.app import loading_screen

    with loading_screen.LoadingScreen(1, enabled=False) as screen:
        assert loading_screen._active_screen is screen
        with pytest.raises(ConfigurationError), said_at_once():
            raise ConfigurationError("num_envs is 0; set 1")
        assert loading_screen._active_screen is None


def test_an_error_is_left_for_the_launcher_of_several_processes(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    with pytest.raises(ConfigurationError, match="num_envs is 0"), said_at_once():
        raise ConfigurationError("num_envs is 0; set 1")
    assert "num_envs is 0" in (tmp_path / "error.json").read_text() and "num_envs is 0" in capsys.readouterr().err


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
