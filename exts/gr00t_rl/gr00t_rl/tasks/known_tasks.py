# SPDX-License-Identifier: BSD-3-Clause
"""Which tasks there are: ours, those of installed packages, and Isaac Lab's own."""

import difflib

import gymnasium as gym

import gr00t_rl.tasks  # noqa: F401  # registers ours, also where the package is on the path without being installed

from .registration import AGENT


def unknown_task(task: str | None) -> str | None:
    """Return what is wrong with a task id in one line, or None if it is registered, here or by an installed package."""
    from isaaclab.cli import load_external_tasks

    try:
        load_external_tasks()  # the entry points of installed packages, ours among them
    except Exception as error:  # whatever somebody's package raises
        return f"a package that registers tasks cannot be imported ({type(error).__name__}: {error}); mend or remove it"
    ours = sorted(name for name, spec in gym.registry.items() if _is_ours(spec))
    known = f"tasks with an agent of gr00t_rl: {', '.join(ours)}"
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


def _is_ours(spec: gym.envs.registration.EnvSpec) -> bool:
    """Whether a task came with this package, or with one that an entry point of ``isaaclab.tasks`` loaded."""
    named = spec.kwargs.get(AGENT)
    place = named if isinstance(named, str) else getattr(named, "__module__", "")  # "module:Class", or the class
    return named is not None and not place.startswith("isaaclab_")
