# SPDX-License-Identifier: BSD-3-Clause
"""What Push is about: the cube's distance to the goal, and the place behind the cube to push from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gr00t_rl.tasks.tabletop.mdp import goal_position, object_position, object_speed
from gr00t_rl.tasks.tabletop.robot import tcp_position

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedRLEnv

SUCCESS_RADIUS = 0.05
"""Largest distance of the cube from the goal, along the table, that counts as there [m]."""

REST_SPEED = 0.05
"""Largest speed of a cube at rest [m/s]."""

PUSH_STANDOFF = 0.055
"""Distance behind the cube's centre from which the closed gripper pushes [m]."""

PUSH_HEIGHT = 0.02
"""Height of the TCP above the table while it pushes [m]."""


def _to_goal(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Vector from the cube to the goal along the table [N, 2] [m]."""
    return (goal_position(env) - object_position(env, "cube"))[:, :2]


def goal_distance(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Distance of the cube from the goal along the table [N] [m]."""
    return _to_goal(env).norm(dim=-1)


def approach_distance(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Distance of the TCP from the place behind the cube to push from [N] [m].

    The stand-off shrinks over the last 5 cm to the goal: otherwise the place would jump to the other side of the cube
    when the cube slides past.
    """
    to_goal = _to_goal(env)
    gap = to_goal.norm(dim=-1, keepdim=True)
    behind = object_position(env, "cube").clone()
    behind[:, :2] -= to_goal * (PUSH_STANDOFF / gap.clamp_min(SUCCESS_RADIUS))
    behind[:, 2] = PUSH_HEIGHT
    return (behind - tcp_position(env)).norm(dim=-1)


def is_success(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Does the cube rest at the goal at this instant, bool [N]."""
    return (goal_distance(env) < SUCCESS_RADIUS) & (object_speed(env, "cube") < REST_SPEED)
