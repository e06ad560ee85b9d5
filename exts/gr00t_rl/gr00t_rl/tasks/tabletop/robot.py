# SPDX-License-Identifier: BSD-3-Clause
"""State of the arm in the env frame: the tool centre point (TCP), the gripper, the joints.

Everything is read from link poses and joint states, which mean the same under every physics engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from isaaclab.utils.math import quat_apply

from gr00t_rl.assets import FRANKA_TCP_OFFSET

if TYPE_CHECKING:
    from isaaclab.assets import Articulation
    from isaaclab.envs import ManagerBasedEnv

ARM_JOINTS = [f"panda_joint{i}" for i in range(1, 8)]
ARM_LINKS = [f"panda_link{i}" for i in range(1, 8)]
FINGER_JOINTS = ["panda_finger_joint1", "panda_finger_joint2"]
HAND = "panda_hand"

FINGER_STROKE = 0.04
"""Travel of one finger [m]; the gripper opens twice as wide."""


class ArmIndex:
    """Where the arm's joints and links are in the engine's own order, as index tensors on its device."""

    def __init__(self, robot: Articulation):
        def joints(names: list[str]) -> torch.Tensor:
            return torch.tensor(robot.find_joints(names, preserve_order=True)[0], device=robot.device)

        self.arm = joints(ARM_JOINTS)  # [7]
        self.fingers = joints(FINGER_JOINTS)  # [2]
        self.links = torch.tensor(robot.find_bodies(ARM_LINKS, preserve_order=True)[0], device=robot.device)  # [7]
        self.hand: int = robot.find_bodies(HAND)[0][0]


def arm_index(env: ManagerBasedEnv) -> ArmIndex:
    """The env's :class:`ArmIndex`, looked up once."""
    if not hasattr(env, "_arm_index"):
        env._arm_index = ArmIndex(env.scene["robot"])
    return env._arm_index


def tcp_pose(env: ManagerBasedEnv) -> tuple[torch.Tensor, torch.Tensor]:
    """Position [N, 3] [m] in the env frame and orientation [N, 4] (x, y, z, w) of the TCP."""
    data = env.scene["robot"].data
    hand = arm_index(env).hand
    quat = data.body_link_quat_w.torch[:, hand]
    offset = torch.zeros_like(quat[:, :3])
    offset[:, 2] = FRANKA_TCP_OFFSET
    return data.body_link_pos_w.torch[:, hand] + quat_apply(quat, offset) - data.root_pos_w.torch, quat


def tcp_position(env: ManagerBasedEnv) -> torch.Tensor:
    """TCP position [N, 3] [m] in the env frame."""
    return tcp_pose(env)[0]


def down_yaw(quat: torch.Tensor) -> torch.Tensor:
    """Turn about the vertical [N] [rad] of a gripper that points down, from its quaternion [N, 4] (x, y, z, w)."""
    yaw = 2.0 * torch.atan2(quat[:, 1], quat[:, 0])
    return torch.remainder(yaw + torch.pi, 2.0 * torch.pi) - torch.pi


def down_quat(yaw: torch.Tensor) -> torch.Tensor:
    """Quaternion [N, 4] (x, y, z, w) of a gripper that points down, turned by ``yaw`` [N] [rad] about the vertical."""
    zero = torch.zeros_like(yaw)
    return torch.stack((torch.cos(yaw / 2), torch.sin(yaw / 2), zero, zero), dim=-1)


def gripper_width(env: ManagerBasedEnv) -> torch.Tensor:
    """Opening between the fingers [N] [m], 0 to 0.08."""
    return env.scene["robot"].data.joint_pos.torch[:, arm_index(env).fingers].sum(dim=-1)


def tcp_jacobian(env: ManagerBasedEnv, tcp: torch.Tensor) -> torch.Tensor:
    """Geometric Jacobian [N, 6, 7] of the TCP (linear above angular, env frame) for the seven arm joints.

    Built from the link poses, since every Panda joint turns about the z axis of its own link. The engines' own
    Jacobians differ in row order and reference point; this one cannot.

    Args:
        tcp: TCP position [N, 3] [m] in the env frame.
    """
    data = env.scene["robot"].data
    links = arm_index(env).links
    quat = data.body_link_quat_w.torch[:, links]  # [N, 7, 4]
    origin = data.body_link_pos_w.torch[:, links] - data.root_pos_w.torch[:, None]  # [N, 7, 3]
    z_axis = torch.zeros_like(origin)
    z_axis[..., 2] = 1.0
    axis = quat_apply(quat, z_axis)
    linear = torch.linalg.cross(axis, tcp[:, None] - origin)
    return torch.cat((linear, axis), dim=-1).mT
