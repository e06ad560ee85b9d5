# SPDX-License-Identifier: BSD-3-Clause
"""Where Cubes episodes start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gr00t_rl.tasks.push.mdp import closer_goal
from gr00t_rl.tasks.push.mdp.task import PUSH_STANDOFF
from gr00t_rl.tasks.tabletop.mdp import (
    curriculum_level,
    curriculum_range,
    curriculum_value,
    env_index,
    instruction_index,
    place_on_table,
    set_goal,
    start_apart,
    start_rand,
    start_uniform,
)

from .task import PICK_PLACE, STACK

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedEnv


def reset_layout(
    env: ManagerBasedEnv,
    env_ids: torch.Tensor | slice,
    lower: tuple[float, float],
    upper: tuple[float, float],
    heights: tuple[float, float],
    max_yaw: float,
    goal_distance: tuple[float, float],
    easy_goal_distance: tuple[float, float],
    base_distance: tuple[float, float],
    easy_base_distance: tuple[float, float],
    clearance: float,
) -> None:
    """Draw both cubes and the goal; runs after the episode's instruction has been drawn.

    Places are drawn alike for all tasks, so that they do not tell which is asked for; only the goal's height follows
    from it. The goal is on the table for Push and in the air for Pick-Place; for Stack, where nobody needs it, one or
    the other by chance. The blue cube is clear of the straight way on which the red one would be pushed.

    Args:
        lower: Corner (x, y) of the rectangle that all places are in [m], env frame.
        upper: Opposite corner.
        heights: Lowest and highest goal in the air [m]; a curriculum begins with the lowest.
        max_yaw: Largest turn of a cube either way [rad].
        goal_distance: Smallest and largest distance from red cube to goal along the table [m].
        easy_goal_distance: The same at the lowest level of a curriculum, both not more than in the full task.
        base_distance: Smallest and largest distance of the cubes [m]; the fingers need 9 cm between them.
        easy_base_distance: The same at the lowest level of a curriculum.
        clearance: Smallest distance of the blue cube from the red one's way, the place to push from included [m].
    """
    ids = env_index(env, env_ids)
    cube = start_uniform(env, ids, lower, upper)
    goal = start_apart(env, ids, lower, upper, cube, goal_distance)
    if curriculum_level(env) is not None:
        goal = closer_goal(cube, goal, goal_distance, curriculum_range(env, easy_goal_distance, goal_distance))
    behind = cube - torch.nn.functional.normalize(goal - cube, dim=-1) * PUSH_STANDOFF
    apart = curriculum_range(env, easy_base_distance, base_distance)
    base = start_apart(env, ids, lower, upper, cube, apart, way=(behind, goal), clearance=clearance)
    yaw = max_yaw * (2.0 * start_rand(env, ids, 2) - 1.0)
    place_on_table(env, "cube", ids, cube, yaw[:, 0])
    place_on_table(env, "base_cube", ids, base, yaw[:, 1])

    share, coin = start_rand(env, ids, 2).unbind(dim=-1)
    task = instruction_index(env)[ids.long(), 0]
    hangs = (task == PICK_PLACE) | ((task == STACK) & (coin < 0.5))
    height = heights[0] + (heights[1] - heights[0]) * curriculum_value(env, 0.0, 1.0) * share
    set_goal(env, ids, torch.cat((goal, torch.where(hangs, height, 0.0)[:, None]), dim=-1))
