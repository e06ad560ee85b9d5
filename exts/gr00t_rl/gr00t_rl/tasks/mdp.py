# SPDX-License-Identifier: BSD-3-Clause
"""Terms that do not depend on a robot, for tasks of your own: pictures, goals, success, progress, the time left,
a curriculum's values."""

from .tabletop.mdp import (
    curriculum_value,
    decision_image,
    env_index,
    goal_position,
    held_success,
    progress,
    remaining_time,
    set_goal,
    start_uniform,
    success_bonus,
)

__all__ = [
    "curriculum_value",
    "decision_image",
    "env_index",
    "goal_position",
    "held_success",
    "progress",
    "remaining_time",
    "set_goal",
    "start_uniform",
    "success_bonus",
]
