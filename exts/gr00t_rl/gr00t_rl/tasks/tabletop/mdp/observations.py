# SPDX-License-Identifier: BSD-3-Clause
"""Observation terms, all float32 [N, d] and scaled to about [-1, 1], so that no running normaliser is needed.

Positions are (p - centre) / half extent of the workspace box, in the env frame; offsets are in units of ``OFFSET``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch

from ..robot import FINGER_STROKE, arm_index, down_yaw, gripper_width, tcp_pose, tcp_position
from .goal import goal_position
from .objects import object_position, object_yaw

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedEnv, ManagerBasedRLEnv

WORKSPACE_CENTER = (0.5, 0.0, 0.25)
WORKSPACE_HALF_EXTENT = (0.25, 0.4, 0.25)
"""The box every tabletop task plays in [m], the same for all tasks so that they can share a policy."""

OFFSET = 0.25
"""Unit of relative positions [m]."""

_VELOCITY = 0.5
"""Unit of linear velocities [m/s]."""


def _normalize(position: torch.Tensor) -> torch.Tensor:
    """Workspace coordinates [..., 3] of a position [..., 3] [m] in the env frame."""
    centre, half_extent = _box(position.device)
    return (position - centre) / half_extent


@cache
def _box(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The workspace box on a device, made once: a copy to a GPU makes the host wait."""
    with torch.inference_mode(False):
        return torch.tensor(WORKSPACE_CENTER, device=device), torch.tensor(WORKSPACE_HALF_EXTENT, device=device)


def joint_positions(env: ManagerBasedEnv) -> torch.Tensor:
    """Arm joints relative to home [rad] and finger travel mapped to [-1, 1] [N, 9]."""
    data, index = env.scene["robot"].data, arm_index(env)
    arm = data.joint_pos.torch[:, index.arm] - data.default_joint_pos.torch[:, index.arm]
    fingers = data.joint_pos.torch[:, index.fingers] * (2.0 / FINGER_STROKE) - 1.0
    return torch.cat((arm, fingers), dim=-1)


def joint_velocities(env: ManagerBasedEnv) -> torch.Tensor:
    """Joint velocities, arm then fingers [N, 9], in rad/s and 0.1 m/s."""
    data, index = env.scene["robot"].data, arm_index(env)
    return torch.cat((data.joint_vel.torch[:, index.arm], data.joint_vel.torch[:, index.fingers] * 10.0), dim=-1)


def tcp_state(env: ManagerBasedEnv) -> torch.Tensor:
    """TCP position, cos and sin of its yaw, gripper opening mapped to [-1, 1] [N, 6]."""
    position, quat = tcp_pose(env)
    yaw = down_yaw(quat)
    opening = gripper_width(env) / FINGER_STROKE - 1.0
    return torch.cat((_normalize(position), torch.stack((torch.cos(yaw), torch.sin(yaw), opening), dim=-1)), dim=-1)


def set_point_offset(env: ManagerBasedEnv) -> torch.Tensor:
    """Servo set-point relative to the TCP [N, 4]: position in leash lengths, yaw in units of 0.5 rad."""
    servo = env.action_manager.get_term("arm")
    position, quat = tcp_pose(env)
    yaw = torch.remainder(servo.set_yaw - down_yaw(quat) + torch.pi, 2 * torch.pi) - torch.pi
    return torch.cat(((servo.set_position - position) / servo.cfg.leash, yaw[:, None] / 0.5), dim=-1)


def goal(env: ManagerBasedEnv) -> torch.Tensor:
    """Goal position [N, 3]."""
    return _normalize(goal_position(env))


def tcp_to_goal(env: ManagerBasedEnv) -> torch.Tensor:
    """Vector from the TCP to the goal [N, 3]."""
    return (goal_position(env) - tcp_position(env)) / OFFSET


def object_pose(env: ManagerBasedEnv, name: str) -> torch.Tensor:
    """Position and a continuous code of the four-fold symmetric yaw, cos and sin of 4 yaw [N, 5]."""
    yaw = object_yaw(env, name) * 4.0
    return torch.cat((_normalize(object_position(env, name)), torch.stack((torch.cos(yaw), torch.sin(yaw)), -1)), -1)


def tcp_to_object(env: ManagerBasedEnv, name: str) -> torch.Tensor:
    """Vector from the TCP to the object's centre [N, 3]."""
    return (object_position(env, name) - tcp_position(env)) / OFFSET


def object_to_goal(env: ManagerBasedEnv, name: str) -> torch.Tensor:
    """Vector from the object's centre to the goal [N, 3]."""
    return (goal_position(env) - object_position(env, name)) / OFFSET


def object_to_object(env: ManagerBasedEnv, name: str, other: str) -> torch.Tensor:
    """Vector from the object's centre to that of another object [N, 3]."""
    return (object_position(env, other) - object_position(env, name)) / OFFSET


def object_velocity(env: ManagerBasedEnv, name: str) -> torch.Tensor:
    """Linear and angular velocity of the object [N, 6], in units of 0.5 m/s and 5 rad/s."""
    data = env.scene[name].data
    return torch.cat((data.root_lin_vel_w.torch / _VELOCITY, data.root_ang_vel_w.torch / 5.0), dim=-1)


def remaining_time(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Share of the episode that is left [N, 1], 1 at its start and 0 at the time-out."""
    return 1.0 - env.episode_length_buf[:, None] / env.max_episode_length
