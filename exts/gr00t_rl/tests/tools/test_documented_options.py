# SPDX-License-Identifier: BSD-3-Clause
"""Every documented command names options that there are, and overrides that its task and agent have.

Running them all takes hours (run_documented_commands.py); reading their command lines takes seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import io
import re
import runpy
import shlex
import sys
from typing import Any

import pytest
from isaaclab_tasks.utils import resolve_task_config
from run_documented_commands import ROOT, Command, documented_commands

import gr00t_rl.tasks  # noqa: F401
from gr00t_rl.cli import VERBS

OVERRIDE = re.compile(r"(env|agent)\.[\w.]+=|(env|agent)=|(env|agent)\.\w+=|(physics|renderer|presets)=")
ISAAC_LAB = {"train": "train", "play": "play", "train_multigpu": "train"}
"""Isaac Lab's own verbs, and ours that take the same options."""
OWN_TASKS = re.compile(r"My-Robot|TASK\b")
"""Tasks that are not registered here."""


class Read(BaseException):
    """A program has read its command line."""


BEFORE = {"uv", "run", "scripts/spot.sh", "--extra", "video"}
"""Words that may stand before a program."""


def words_of(command: Command) -> list[str]:
    """The words from the program on, with what the block has assigned before."""
    text = command.text.replace("…", "")
    for line in command.prelude:
        name, _, value = line.removeprefix("export ").partition("=")
        text = text.replace(f"${name}", value.strip('"'))
    words = shlex.split(text)
    while words and (re.match(r"[A-Z_]+=", words[0]) or words[0] in BEFORE):
        del words[0]
    return words


def program_of(command: Command) -> str | None:
    """What is to read the command: a verb of ours, a script, or nothing of this repository."""
    match words_of(command):
        case ["gr00t-rl", verb, *_] if verb in VERBS:
            return verb
        case ["isaaclab", verb, *_] if verb in ISAAC_LAB:
            return ISAAC_LAB[verb]
        case ["python", script, *_] if script.startswith("source/") and "argparse" in (ROOT / script).read_text():
            return script
    return None


def read(command: Command) -> tuple[Any, list[str]]:
    """Let the command's parser read it; returns what it found, and the words that are not its own."""
    words, program = words_of(command), program_of(command)
    assert program is not None
    if program in VERBS:
        parser = importlib.import_module(f"gr00t_rl.cli.{program.replace('-', '_')}").build_parser()
        rest = [w for w in words[2:] if w not in ("--rl_library", "rsl_rl")]
        if words[1] == "train_multigpu":
            del rest[rest.index("--num_gpus") : rest.index("--num_gpus") + 2]
        if program == "train":  # it has a parser of its own for what is not Isaac Lab's
            _, rest = importlib.import_module("gr00t_rl.cli.train")._processes_parser().parse_known_args(rest)
        return parser.parse_known_args(rest)
    return read_by_script(program, words[2:])


def read_by_script(script: str, words: list[str]) -> tuple[Any, list[str]]:
    """Start a script and stop it when it has read its command line."""
    found: list[tuple[Any, list[str]]] = []
    original = argparse.ArgumentParser.parse_known_args

    def parse(self: Any, args: Any = None, namespace: Any = None) -> Any:
        argparse.ArgumentParser.parse_known_args = original  # type: ignore[method-assign]
        found.append(original(self, args, namespace))
        raise Read

    argv, path = sys.argv, list(sys.path)
    sys.argv, sys.path[0] = [script, *words], str((ROOT / script).parent)
    argparse.ArgumentParser.parse_known_args = parse  # type: ignore[method-assign]
    try:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    except Read:
        return found[0]
    finally:
        argparse.ArgumentParser.parse_known_args = original  # type: ignore[method-assign]
        sys.argv, sys.path[:] = argv, path
    raise AssertionError(f"{script} has read no command line")


COMMANDS = [command for command in documented_commands()[0] if program_of(command) is not None]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.place)
def test_options_and_overrides_are_known(command: Command) -> None:
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message):
            options, rest = read(command)
    except SystemExit:
        pytest.fail(f"{command.place}: `{command.text}`: {message.getvalue()[-400:]}")
    rest += getattr(options, "overrides", None) or []
    unknown = [word for word in rest if not OVERRIDE.match(word)]
    assert not unknown, f"{command.place}: `{command.text}`: {unknown}"
    task = getattr(options, "task", None)
    if not isinstance(task, str) or OWN_TASKS.search(task):
        return
    agent = getattr(options, "agent", None) or "rsl_rl_cfg_entry_point"
    resolve(task, agent, tuple(rest))


@functools.cache  # half of the commands repeat another's
def resolve(task: str, agent: str, overrides: tuple[str, ...]) -> None:
    """Let Isaac Lab put overrides into the cfgs."""
    resolve_task_config(task, agent, overrides=list(overrides))


def test_a_wrong_option_is_found() -> None:
    wrong = Command("x.md", 1, "gr00t-rl evaluate --task Gr00t-Reach-Franka --chekpoint latest")
    _, rest = read(wrong)
    assert [word for word in rest if not OVERRIDE.match(word)] == ["--chekpoint", "latest"]
    with pytest.raises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
        read(Command("x.md", 1, "python source/standalone/benchmarks/screen.py --iterations many"))
    assert len(COMMANDS) > 100
