# SPDX-License-Identifier: BSD-3-Clause
"""Where Push episodes start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from gr00t_rl.tasks.tabletop.mdp import (
    curriculum_level,
    curriculum_range,
    env_index,
    place_on_table,
    set_goal,
    start_apart,
    start_rand,
    start_uniform,
)

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedEnv


def reset_layout(
    env: ManagerBasedEnv,
    env_ids: torch.Tensor | slice,
    lower: tuple[float, float],
    upper: tuple[float, float],
    max_yaw: float,
    distance: tuple[float, float],
    easy_distance: tuple[float, float],
) -> None:
    """Draw the cube and the goal on the table from a rectangle, the goal at some distance from the cube.

    Args:
        lower: Corner (x, y) of the rectangle [m], env frame.
        upper: Opposite corner.
        max_yaw: Largest turn of the cube either way [rad].
        distance: Smallest and largest distance from cube to goal [m].
        easy_distance: The same at the lowest level of a curriculum, both not more than in the full task.
    """
    ids = env_index(env, env_ids)
    cube = start_uniform(env, ids, lower, upper)
    goal = start_apart(env, ids, lower, upper, cube, distance)
    if curriculum_level(env) is not None:
        goal = closer_goal(cube, goal, distance, curriculum_range(env, easy_distance, distance))
    yaw = max_yaw * (2.0 * start_rand(env, ids, 1)[:, 0] - 1.0)
    place_on_table(env, "cube", ids, cube, yaw)
    set_goal(env, ids, torch.nn.functional.pad(goal, (0, 1)))


def closer_goal(
    cube: torch.Tensor,
    goal: torch.Tensor,
    distance: Sequence[float],
    now: Sequence[torch.Tensor | float],
) -> torch.Tensor:
    """Goals [n, 2] moved along the line to the cube, so that distances spread over ``now`` and not ``distance``.

    They stay between cube and goal, and so in the rectangle that both were drawn from. A goal drawn nearer than
    ``distance`` allows, for want of a fitting candidate, is left where it is.

    Args:
        cube: Cubes [n, 2] [m].
        goal: Goals [n, 2] [m], drawn for the full task.
        distance: Smallest and largest distance in the full task [m].
        now: Smallest and largest distance that is wanted [m], each not more than the full task's.
    """
    to_goal = goal - cube
    gap = to_goal.norm(dim=-1, keepdim=True)
    wanted = now[0] + (gap - distance[0]) * ((now[1] - now[0]) / (distance[1] - distance[0]))
    return cube + to_goal * torch.where(gap < distance[0], 1.0, wanted / gap)
