# SPDX-License-Identifier: BSD-3-Clause
"""Where Pick-Place episodes start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gr00t_rl.tasks.tabletop.mdp import (
    curriculum_level,
    curriculum_value,
    env_index,
    place_on_table,
    set_goal,
    start_rand,
    start_uniform,
)

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedEnv


def reset_layout(
    env: ManagerBasedEnv,
    env_ids: torch.Tensor | slice,
    lower: tuple[float, float, float],
    upper: tuple[float, float, float],
    max_yaw: float,
    easy_share: float,
) -> None:
    """Draw the goal from a box over the table, and the cube from the same rectangle on the table.

    A curriculum brings the goal nearer to the place over the cube, at the height of the box's floor.

    Args:
        lower: Corner (x, y, z) of the box [m], env frame.
        upper: Opposite corner.
        max_yaw: Largest turn of the cube either way [rad].
        easy_share: Share of the way from over the cube to the goal at the lowest level of a curriculum.
    """
    ids = env_index(env, env_ids)
    cube = start_uniform(env, ids, lower[:2], upper[:2])
    yaw = max_yaw * (2.0 * start_rand(env, ids, 1)[:, 0] - 1.0)
    place_on_table(env, "cube", ids, cube, yaw)
    goal = start_uniform(env, ids, lower, upper)
    if curriculum_level(env) is not None:
        over = torch.cat((cube, torch.full_like(cube[:, :1], lower[2])), dim=-1)
        goal = over + curriculum_value(env, easy_share, 1.0) * (goal - over)
    set_goal(env, ids, goal)
