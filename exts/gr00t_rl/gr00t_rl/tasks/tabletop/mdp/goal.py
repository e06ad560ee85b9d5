# SPDX-License-Identifier: BSD-3-Clause
"""Where each env's goal is, and the marker that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gr00t_rl.assets import CUBE_SIZE

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedEnv


def goal_position(env: ManagerBasedEnv) -> torch.Tensor:
    """Goal of every env [N, 3] in the env frame, in metres: the buffer itself, zero before the first reset."""
    if not hasattr(env, "_goal_position"):
        env._goal_position = torch.zeros(env.num_envs, 3, device=env.device)
    return env._goal_position


def set_goal(env: ManagerBasedEnv, env_ids: torch.Tensor, position: torch.Tensor) -> None:
    """Set the goal of some envs and move its marker, where the scene has one.

    Args:
        env_ids: Env indices [n], int32 as the physics writers want them.
        position: Goals [n, 3] in the env frame, in metres.
    """
    goal_position(env)[env_ids.long()] = position
    if "goal_marker" in env.scene.rigid_objects:
        pose = upright_pose(env, env_ids, position, yaw=torch.zeros_like(position[:, 0]))
        # No velocity: PhysX refuses one for a kinematic body, and the marker never has any.
        env.scene["goal_marker"].write_root_pose_to_sim_index(root_pose=pose, env_ids=env_ids)


def place_at_rest(
    env: ManagerBasedEnv, name: str, env_ids: torch.Tensor, position: torch.Tensor, yaw: torch.Tensor
) -> None:
    """Put an object somewhere, upright and at rest.

    Args:
        name: Rigid object of the scene.
        env_ids: Env indices [n], int32.
        position: Centre [n, 3] [m] in the env frame.
        yaw: Turn about the vertical [n] [rad].
    """
    pose, asset = upright_pose(env, env_ids, position, yaw), env.scene[name]
    asset.write_root_pose_to_sim_index(root_pose=pose, env_ids=env_ids)
    asset.write_root_velocity_to_sim_index(root_velocity=torch.zeros_like(pose[:, :6]), env_ids=env_ids)


def place_on_table(
    env: ManagerBasedEnv, name: str, env_ids: torch.Tensor, place: torch.Tensor, yaw: torch.Tensor
) -> None:
    """Put a cube on the table, at rest.

    Args:
        name: Rigid object of the scene.
        env_ids: Env indices [n], int32.
        place: Centre (x, y) [n, 2] [m] in the env frame.
        yaw: Turn about the vertical [n] [rad].
    """
    height = torch.full_like(place[:, :1], CUBE_SIZE / 2)
    place_at_rest(env, name, env_ids, torch.cat((place, height), dim=-1), yaw)


def upright_pose(
    env: ManagerBasedEnv, env_ids: torch.Tensor, position: torch.Tensor, yaw: torch.Tensor
) -> torch.Tensor:
    """World pose [n, 7] (position [m], quaternion x, y, z, w) from a position [n, 3] in the env frame and a yaw [n]."""
    zero = torch.zeros_like(yaw)
    quat = torch.stack((zero, zero, torch.sin(yaw / 2), torch.cos(yaw / 2)), dim=-1)
    return torch.cat((position + env.scene.env_origins[env_ids.long()], quat), dim=-1)
