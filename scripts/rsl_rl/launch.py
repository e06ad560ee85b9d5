"""What the scripts share: check the task, choose a device, hand over to Isaac Lab's entry point or to ours."""

import argparse
import difflib
import sys
from collections.abc import Callable

import gymnasium as gym
import torch
from isaaclab.cli import load_external_tasks
from isaaclab_tasks.utils.hydra import resolve_task_config


def check_task(task: str | None) -> str | None:
    """Return what is wrong with a task id in one line, or None if it can be run."""
    load_external_tasks()  # the entry point of gr00t_rl registers its tasks
    ours = sorted(name for name in gym.registry if name.startswith("Gr00t-"))
    known = f"tasks of gr00t_rl: {', '.join(ours) or 'none (is the extension installed?)'}"
    if task is None:
        return f"--task is missing; {known}"
    name = task.split(":")[-1]
    if name in gym.registry:
        return None
    import isaaclab_tasks  # noqa: F401  # registers Isaac Lab's own tasks, which takes seconds

    if name in gym.registry:
        return None
    close = difflib.get_close_matches(name, ours, n=1, cutoff=0.5)
    return f"unknown task '{name}'{f', did you mean {close[0]}?' if close else ';'} {known}"


def check_overrides(task: str, args: list[str]) -> str | None:
    """Return what is wrong with the names in overrides of the env in one line, or None: Isaac Lab gives a traceback."""
    overrides = [arg for arg in args if arg.startswith(("env.", "physics=", "renderer="))]
    try:
        resolve_task_config(task, None, overrides=overrides)
    except (AttributeError, KeyError, ValueError) as error:
        return " ".join(f"{error}; given: {' '.join(overrides)}".split())
    return None


def launch(run_cli: Callable[[list[str]], int], argv: list[str]) -> int:
    """Run one of Isaac Lab's entry points with rsl_rl on the given command line; returns the exit code."""
    return launch_program(lambda checked: run_cli(["--rl_library", "rsl_rl", *checked]), argv)


def launch_program(program: Callable[[list[str]], int], argv: list[str]) -> int:
    """Run a program on the given command line, task checked and device added; returns the exit code."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--task")
    parser.add_argument("--device")
    parser.add_argument("--distributed", action="store_true")
    args, others = parser.parse_known_args(argv)
    if not {"-h", "--help"} & set(argv):
        error = check_task(args.task) or check_overrides(args.task, others)
        if error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    if args.device is None and not args.distributed:  # a distributed worker gets its device from its rank
        argv = [*argv, "--device", "cuda:0" if torch.cuda.is_available() else "cpu"]
    return program(argv)
