# SPDX-License-Identifier: BSD-3-Clause
"""What the verbs that simulate share: they check the task, choose a device, and hand over to Isaac Lab or to us."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from . import wants_help

OVERRIDES = """Hydra overrides follow, as everywhere in Isaac Lab: env.camera_size=128 agent.algorithm.clip_param=0.1
physics=ovphysx. Its launcher's options are taken too (--device cpu, --viz newton)."""


def check_overrides(task: str, args: list[str], agent: str | None = None) -> str | None:
    """Return what is wrong with the names in overrides in one line, or None: Isaac Lab gives a traceback."""
    from isaaclab_tasks.utils.hydra import resolve_task_config

    overrides = [arg for arg in args if arg.startswith(("env.", "agent.", "physics=", "renderer=", "presets="))]
    if not any(arg.startswith("agent.") for arg in overrides):
        agent = None
    elif agent is None:
        agent = "rsl_rl_cfg_entry_point"
    try:
        resolve_task_config(task, agent, overrides=overrides)
    except (AttributeError, KeyError, ValueError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else error
        return " ".join(f"{reason}; given: {' '.join(overrides)}".split())
    return None


def launch(action: str, parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Run Isaac Lab's ``train`` or ``play`` with rsl_rl on the given command line; returns the exit code.

    Args:
        action: ``train`` or ``play``.
        parser: Whose help is shown where the command line asks for it.
        argv: The command line; that of the process where None.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if wants_help(argv):
        parser.print_help()
        return 0
    return run_isaac_lab(action, argv)


def run_isaac_lab(action: str, argv: list[str]) -> int:
    """Run Isaac Lab's ``train`` or ``play`` with rsl_rl on a command line that does not ask for help."""
    from isaaclab_rl.entrypoints.dispatch import run_cli

    return launch_program(lambda checked: run_cli(action, ["--rl_library", "rsl_rl", *checked]), argv)


def launch_program(program: Callable[[list[str]], int], argv: list[str]) -> int:
    """Run a program on the given command line, task checked and device added; returns the exit code."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--task")
    parser.add_argument("--agent")
    parser.add_argument("--device")
    parser.add_argument("--distributed", action="store_true")
    args, others = parser.parse_known_args(argv)
    from ..tasks.known_tasks import unknown_task
    from ..utils.devices import chosen_device, one_thread_on_cpu

    error = unknown_task(args.task) or check_overrides(args.task, others, args.agent)
    if error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.device is None and not args.distributed:  # one of several processes gets its GPU from its number
        args.device = chosen_device(None)
        argv = [*argv, "--device", args.device]
    if args.device is not None and args.device.startswith("cpu"):
        one_thread_on_cpu("cpu")
    return program(argv)


def leave() -> NoReturn:
    """End the process with status 0: what was asked for is on disk, and an orderly shutdown of a simulation is slow."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
