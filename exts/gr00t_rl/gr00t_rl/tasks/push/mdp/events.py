# SPDX-License-Identifier: BSD-3-Clause
"""Where Push episodes start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gr00t_rl.assets import CUBE_SIZE
from gr00t_rl.tasks.tabletop.mdp import env_index, place_at_rest, set_goal, start_rand, start_uniform

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedEnv

_CANDIDATES = 16


def reset_layout(
    env: ManagerBasedEnv,
    env_ids: torch.Tensor | slice,
    lower: tuple[float, float],
    upper: tuple[float, float],
    max_yaw: float,
    distance: tuple[float, float],
) -> None:
    """Draw the cube and the goal on the table from a rectangle, the goal at some distance from the cube.

    Args:
        lower: Corner (x, y) of the rectangle [m], env frame.
        upper: Opposite corner.
        max_yaw: Largest turn of the cube either way [rad].
        distance: Smallest and largest distance from cube to goal [m].
    """
    ids = env_index(env, env_ids)
    cube = start_uniform(env, ids, lower, upper)
    # Of several candidates take the first at a fitting distance: rejection sampling without a data-dependent loop.
    # In a rectangle of sensible size all sixteen practically never miss; if they do, the first is used as it is.
    candidates = start_uniform(env, ids, lower, upper, count=(_CANDIDATES,))
    gap = (candidates - cube[:, None]).norm(dim=-1)
    chosen = ((gap > distance[0]) & (gap < distance[1])).int().argmax(dim=-1)
    goal = candidates[torch.arange(len(ids), device=env.device), chosen]
    yaw = max_yaw * (2.0 * start_rand(env, ids, 1)[:, 0] - 1.0)
    height = torch.full_like(cube[:, :1], CUBE_SIZE / 2)
    place_at_rest(env, "cube", ids, torch.cat((cube, height), dim=-1), yaw)
    set_goal(env, ids, torch.cat((goal, torch.zeros_like(height)), dim=-1))
