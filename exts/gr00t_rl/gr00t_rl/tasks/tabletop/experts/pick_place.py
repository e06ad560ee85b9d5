# SPDX-License-Identifier: BSD-3-Clause
"""The expert of Pick-Place."""

from __future__ import annotations

import torch

from ..mdp import goal_position
from .base import CLOSE
from .grasp import GraspExpert, Phase


class PickPlaceExpert(GraspExpert):
    """Grasps the cube and carries it to the goal in the air, where it holds it."""

    PHASES = (*GraspExpert.PHASES, Phase(limit=10**6, tolerance=0.0, speed=0.8, gripper=CLOSE))

    LIFT_HEIGHT = 0.06
    """Just off the table: the way to the goal is free from there [m]."""

    def _after_lift(self, tcp: torch.Tensor, cube: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        # The cube, not the TCP, belongs at the goal.
        return [(goal_position(self.env) - (cube - tcp), self.servo.set_yaw)]
