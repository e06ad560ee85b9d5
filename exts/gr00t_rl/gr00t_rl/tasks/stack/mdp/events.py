# SPDX-License-Identifier: BSD-3-Clause
"""Where Stack episodes start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gr00t_rl.tasks.tabletop.mdp import (
    curriculum_range,
    env_index,
    place_on_table,
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
    """Draw both cubes on the table from a rectangle, some distance apart.

    Args:
        lower: Corner (x, y) of the rectangle [m], env frame.
        upper: Opposite corner.
        max_yaw: Largest turn of a cube either way [rad].
        distance: Smallest and largest distance of the cubes [m]; the fingers need 9 cm between them.
        easy_distance: The same at the lowest level of a curriculum.
    """
    ids = env_index(env, env_ids)
    base = start_uniform(env, ids, lower, upper)
    cube = start_apart(env, ids, lower, upper, base, curriculum_range(env, easy_distance, distance))
    yaw = max_yaw * (2.0 * start_rand(env, ids, 2) - 1.0)
    place_on_table(env, "base_cube", ids, base, yaw[:, 0])
    place_on_table(env, "cube", ids, cube, yaw[:, 1])
