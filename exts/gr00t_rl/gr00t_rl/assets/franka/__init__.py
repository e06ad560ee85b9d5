# SPDX-License-Identifier: BSD-3-Clause
"""The Franka Panda from primitive shapes: a 7-joint arm with a parallel gripper, all files local."""

from .franka_cfg import FRANKA_HOME, FRANKA_PRIMITIVE_CFG, FRANKA_TCP_OFFSET

__all__ = ["FRANKA_HOME", "FRANKA_PRIMITIVE_CFG", "FRANKA_TCP_OFFSET"]
