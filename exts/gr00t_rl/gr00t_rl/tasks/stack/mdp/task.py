# SPDX-License-Identifier: BSD-3-Clause
"""What Stack is about: where the red cube is over the blue one, and whether it stands there by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gr00t_rl.assets import CUBE_SIZE
from gr00t_rl.tasks.tabletop.mdp import is_grasped, is_open, object_position, object_speed, tcp_distance

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedRLEnv

ALIGNED_RADIUS = 0.02
"""Largest horizontal distance of stacked cubes [m]: less than half an edge, so that the upper one is carried."""

HEIGHT_TOLERANCE = 0.005
"""Largest error of the height of one stacked cube over the other [m]."""

REST_SPEED = 0.05
"""Largest speed of a cube at rest [m/s]."""

CLEARANCE = 0.05
"""How far over the blue cube the red one is carried there [m]."""


def _over_base(env: ManagerBasedRLEnv) -> tuple[torch.Tensor, torch.Tensor]:
    """Horizontal distance of the cubes [N] [m] and height of the red cube over the blue one [N] [m]."""
    offset = object_position(env, "cube") - object_position(env, "base_cube")
    return offset[:, :2].norm(dim=-1), offset[:, 2]


def cube_distance(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Distance of the TCP from the red cube [N] [m]."""
    return tcp_distance(env, "cube")


def stack_distance(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Length of the way that the red cube has to its place on the blue one [N] [m].

    Sideways distance plus error of the height, where the right height is that of a funnel over the place: the cube has
    to come from above, and a straight line from the table would run through the blue cube.
    """
    sideways, height = _over_base(env)
    return sideways + (height - CUBE_SIZE - sideways.clamp_max(CLEARANCE)).abs()


def is_aligned(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Is the red cube straight over the blue one, at any height, bool [N]."""
    return _over_base(env)[0] < ALIGNED_RADIUS


def is_at_height(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Is the red cube as high over the blue one as a stacked one, wherever it is, bool [N]."""
    return (_over_base(env)[1] - CUBE_SIZE).abs() < HEIGHT_TOLERANCE


def is_stacked(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Is the red cube on the blue one at this instant, held or not, bool [N]."""
    return is_aligned(env) & is_at_height(env)


def grasp_missing(env: ManagerBasedRLEnv) -> torch.Tensor:
    """1 while the red cube is neither in the grasp nor stacked, else 0 [N]: the "distance" of the grasping reward."""
    return 1.0 - (is_grasped(env, "cube") | is_stacked(env)).float()


def release_missing(env: ManagerBasedRLEnv) -> torch.Tensor:
    """0 while the cube is stacked and let go of, else 1 [N]: the "distance" of the reward for letting go."""
    return 1.0 - (is_stacked(env) & is_open(env)).float()


def is_success(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Does the red cube stand on the blue one, let go of, both at rest, at this instant, bool [N]."""
    rest = (object_speed(env, "cube") < REST_SPEED) & (object_speed(env, "base_cube") < REST_SPEED)
    return is_stacked(env) & is_open(env) & rest
