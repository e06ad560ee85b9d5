# SPDX-License-Identifier: BSD-3-Clause
"""The expert of Stack."""

from __future__ import annotations

import torch

from gr00t_rl.assets import CUBE_SIZE

from ..mdp import object_position, object_yaw
from .base import CLOSE, OPEN, at_height
from .grasp import GraspExpert, Phase


class StackExpert(GraspExpert):
    """Grasps the red cube, turns it as the blue one lies, sets it down there and goes up."""

    CARRY, LOWER, RELEASE, RETREAT = range(GraspExpert.CARRY, GraspExpert.CARRY + 4)

    PHASES = (
        *GraspExpert.PHASES,
        Phase(limit=45, tolerance=0.008, speed=0.8, gripper=CLOSE),
        Phase(limit=25, tolerance=0.006, speed=0.5, gripper=CLOSE),
        Phase(limit=6, tolerance=0.0, speed=0.3, gripper=OPEN),
        # Long enough for the stack to count as stable; whoever is still there has failed and tries again.
        Phase(limit=25, tolerance=0.0, speed=0.8, gripper=OPEN),
    )

    GAP = 0.002
    """Height over the blue cube at which the red one is let go [m]."""

    def _after_lift(self, tcp: torch.Tensor, cube: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        base, here = object_position(self.env, "base_cube"), self.servo.set_position
        hold = self.servo.set_yaw
        # The cube, not the TCP, belongs on the other one.
        place = base - (cube - tcp)
        return [
            (at_height(place, self.LIFT_HEIGHT), object_yaw(self.env, "base_cube")),
            (at_height(place, place[:, 2] + CUBE_SIZE + self.GAP), hold),
            (here, hold),
            (at_height(here, self.LIFT_HEIGHT), hold),
        ]
