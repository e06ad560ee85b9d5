# SPDX-License-Identifier: BSD-3-Clause
"""Robots, objects and base policies that start offline: every file they need is inside this package."""

from .checkpoints import base_checkpoint
from .cubes import CUBE_SIZE, cube_cfg
from .franka import FRANKA_HOME, FRANKA_PRIMITIVE_CFG, FRANKA_TCP_OFFSET

__all__ = ["CUBE_SIZE", "FRANKA_HOME", "FRANKA_PRIMITIVE_CFG", "FRANKA_TCP_OFFSET", "base_checkpoint", "cube_cfg"]
