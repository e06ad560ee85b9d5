# SPDX-License-Identifier: BSD-3-Clause
"""What Pick-Place is about: the grasp, and the cube's distance from a goal that it cannot be pushed to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gr00t_rl.tasks.tabletop.mdp import goal_position, is_grasped, object_position, tcp_distance

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedRLEnv

SUCCESS_RADIUS = 0.05
"""Largest distance of the cube's centre from the goal that counts as there [m]."""


def cube_distance(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Distance of the TCP from the cube [N] [m]."""
    return tcp_distance(env, "cube")


def grasp_missing(env: ManagerBasedRLEnv) -> torch.Tensor:
    """1 while the cube is not in the grasp and 0 while it is [N]: the "distance" of the grasping reward."""
    return 1.0 - is_grasped(env, "cube").float()


def goal_distance(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Distance of the cube from the goal [N] [m]."""
    return (goal_position(env) - object_position(env, "cube")).norm(dim=-1)


def stage_distance(env: ManagerBasedRLEnv) -> torch.Tensor:
    """What is left of the present stage [N] [m]: of the way to the cube, and once it is grasped of that to the goal.

    A tenth of the cube's height over the table counts against the second.
    """
    height = object_position(env, "cube")[:, 2]
    return torch.where(is_grasped(env, "cube"), goal_distance(env) - 0.1 * height, cube_distance(env))


def is_success(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Is the cube at the goal at this instant, bool [N].

    Goals hang at least 15 cm over the table, and success must hold for half a second: no cube gets there but carried.
    """
    return goal_distance(env) < SUCCESS_RADIUS
