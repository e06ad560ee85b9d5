# SPDX-License-Identifier: BSD-3-Clause
"""State of rigid objects in the env frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from isaaclab.utils.math import euler_xyz_from_quat

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedEnv


def object_position(env: ManagerBasedEnv, name: str) -> torch.Tensor:
    """Centre of the object [N, 3] [m]."""
    return env.scene[name].data.root_pos_w.torch - env.scene.env_origins


def object_yaw(env: ManagerBasedEnv, name: str) -> torch.Tensor:
    """Yaw of a four-fold symmetric object [N] [rad], in [-pi/4, pi/4)."""
    yaw = euler_xyz_from_quat(env.scene[name].data.root_quat_w.torch)[2]
    return torch.remainder(yaw + torch.pi / 4, torch.pi / 2) - torch.pi / 4


def object_speed(env: ManagerBasedEnv, name: str) -> torch.Tensor:
    """Linear speed of the object [N] [m/s]."""
    return env.scene[name].data.root_lin_vel_w.torch.norm(dim=-1)


def object_lost(
    env: ManagerBasedEnv, name: str, lower: tuple[float, float], upper: tuple[float, float], min_height: float
) -> torch.Tensor:
    """Has the object left the area the arm can work in, or fallen off the table, bool [N].

    Args:
        name: Rigid object of the scene.
        lower: Corner (x, y) of the area [m], env frame.
        upper: Opposite corner.
        min_height: Lowest height of the object's centre [m].
    """
    position = object_position(env, name)
    lost = position[:, 2] < min_height
    for axis in range(2):  # numbers, not tensors of them: a copy to a GPU makes the host wait
        lost = lost | (position[:, axis] < lower[axis]) | (position[:, axis] > upper[axis])
    return lost
