# SPDX-License-Identifier: BSD-3-Clause
"""Where Reach episodes start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gr00t_rl.tasks.tabletop.mdp import curriculum_level, curriculum_value, env_index, set_goal, start_uniform

if TYPE_CHECKING:
    import torch
    from isaaclab.envs import ManagerBasedEnv


def reset_goal(
    env: ManagerBasedEnv,
    env_ids: torch.Tensor | slice,
    lower: tuple[float, float, float],
    upper: tuple[float, float, float],
    start: tuple[float, float, float],
    easy_share: float,
) -> None:
    """Draw the goal from a box, which a curriculum shrinks towards the place where the TCP starts.

    Args:
        lower: Corner (x, y, z) of the box [m], env frame.
        upper: Opposite corner.
        start: A point in the box [m]: about where the TCP starts.
        easy_share: Size of the box at the lowest level of a curriculum, as a share of its full edges.
    """
    ids = env_index(env, env_ids)
    goal = start_uniform(env, ids, lower, upper)
    if curriculum_level(env) is not None:
        center = goal.new_tensor(start)
        goal = center + curriculum_value(env, easy_share, 1.0) * (goal - center)
    set_goal(env, ids, goal)
