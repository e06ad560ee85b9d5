# SPDX-License-Identifier: BSD-3-Clause
"""What tells whether the gripper has a cube."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gr00t_rl.assets import CUBE_SIZE

from ..robot import gripper_width, tcp_position
from .objects import object_position

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedEnv

GRASP_RADIUS = 0.02
"""Largest distance of a grasped cube's centre from the TCP [m]: less than half an edge, so that it is in between."""

GRASP_SLACK = 0.005
"""How much wider or narrower than the cube the opening of a closed grasp may be [m]."""

RELEASE_CLEARANCE = 0.01
"""Opening beyond the cube's edge from which on the fingers no longer hold it [m]."""


def tcp_distance(env: ManagerBasedEnv, name: str) -> torch.Tensor:
    """Distance of the TCP from the object's centre [N] [m]."""
    return (object_position(env, name) - tcp_position(env)).norm(dim=-1)


def is_grasped(env: ManagerBasedEnv, name: str) -> torch.Tensor:
    """Is the cube between the fingers and do they touch it on both sides, bool [N].

    Told from the geometry alone, so that it means the same under every physics engine: the centre is at the TCP and
    the opening is as wide as the cube.
    """
    snug = (gripper_width(env) - CUBE_SIZE).abs() < GRASP_SLACK
    return snug & (tcp_distance(env, name) < GRASP_RADIUS)


def is_open(env: ManagerBasedEnv) -> torch.Tensor:
    """Is the gripper too wide open to hold a cube, bool [N]."""
    return gripper_width(env) > CUBE_SIZE + RELEASE_CLEARANCE
