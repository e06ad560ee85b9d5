# SPDX-License-Identifier: BSD-3-Clause
"""Scripted policies that solve the tasks from privileged state: demonstrations, and a check that a task can be solved.

Each env is in a phase of its own. An expert is called once per env step and told which episodes ended::

    expert = make_expert("Gr00t-Push-Cube-Franka", env.unwrapped)
    actions = expert()
    _, _, terminated, truncated, _ = env.step(actions)
    expert.reset(terminated | truncated)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import CLOSE, OPEN, Expert
from .cubes import CubesExpert
from .pick_place import PickPlaceExpert
from .push import PushExpert
from .reach import ReachExpert
from .stack import StackExpert

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedRLEnv

EXPERTS: dict[str, type[Expert]] = {
    "Gr00t-Reach-Franka": ReachExpert,
    "Gr00t-Push-Cube-Franka": PushExpert,
    "Gr00t-Pick-Place-Cube-Franka": PickPlaceExpert,
    "Gr00t-Stack-Cube-Franka": StackExpert,
    "Gr00t-Tabletop-Cubes-Franka": CubesExpert,
}
"""Expert of each task, by the start of the task's ID: variants of a task share one."""


def make_expert(task: str, env: ManagerBasedRLEnv, noise: float = 0.0) -> Expert:
    """The expert of a task.

    Args:
        task: Gym ID, of any variant.
        env: The unwrapped env.
        noise: Standard deviation of Gaussian noise added to the motion, in action units.

    Raises:
        KeyError: If the task has no expert.
    """
    for prefix, expert in EXPERTS.items():
        if task.startswith(prefix):
            return expert(env, noise)
    raise KeyError(f"task {task!r} has no scripted expert; tasks that have one start with {', '.join(EXPERTS)}")


__all__ = [
    "CLOSE",
    "EXPERTS",
    "OPEN",
    "CubesExpert",
    "Expert",
    "PickPlaceExpert",
    "PushExpert",
    "ReachExpert",
    "StackExpert",
    "make_expert",
]
