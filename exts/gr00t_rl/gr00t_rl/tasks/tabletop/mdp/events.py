# SPDX-License-Identifier: BSD-3-Clause
"""Reset events that every tabletop task needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..robot import FINGER_STROKE, arm_index
from .sampling import env_index, start_rand

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedEnv


def reset_arm(env: ManagerBasedEnv, env_ids: torch.Tensor | slice, spread: float) -> None:
    """Put the arm at home with the gripper open, each arm joint off by up to ``spread`` [rad], at rest."""
    ids, robot, index = env_index(env, env_ids), env.scene["robot"], arm_index(env)
    position = robot.data.default_joint_pos.torch[ids.long()].clone()
    position[:, index.arm] += spread * (2.0 * start_rand(env, ids, len(index.arm)) - 1.0)
    position[:, index.fingers] = FINGER_STROKE
    robot.write_joint_position_to_sim_index(position=position, env_ids=ids)
    robot.write_joint_velocity_to_sim_index(velocity=torch.zeros_like(position), env_ids=ids)
    robot.set_joint_position_target_index(target=position, env_ids=ids)
