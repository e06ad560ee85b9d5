# SPDX-License-Identifier: BSD-3-Clause
"""Where Reach episodes start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gr00t_rl.tasks.tabletop.mdp import env_index, set_goal, start_uniform

if TYPE_CHECKING:
    import torch
    from isaaclab.envs import ManagerBasedEnv


def reset_goal(
    env: ManagerBasedEnv,
    env_ids: torch.Tensor | slice,
    lower: tuple[float, float, float],
    upper: tuple[float, float, float],
) -> None:
    """Draw the goal from a box [m] in the env frame."""
    ids = env_index(env, env_ids)
    set_goal(env, ids, start_uniform(env, ids, lower, upper))
