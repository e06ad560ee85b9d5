# SPDX-License-Identifier: BSD-3-Clause
"""Scripted policies that solve the tasks from privileged state: demonstrations, and a check that a task can be solved.

Each env is in a phase of its own. :mod:`gr00t_rl.tasks.experts` finds the one of a task.
"""

from .base import CLOSE, OPEN, Expert
from .cubes import CubesExpert
from .pick_place import PickPlaceExpert
from .push import PushExpert
from .reach import ReachExpert
from .stack import StackExpert

__all__ = [
    "CLOSE",
    "OPEN",
    "CubesExpert",
    "Expert",
    "PickPlaceExpert",
    "PushExpert",
    "ReachExpert",
    "StackExpert",
]
