# SPDX-License-Identifier: BSD-3-Clause
"""The expert of Reach."""

from __future__ import annotations

import torch

from ..mdp import goal_position
from .base import OPEN, Expert


class ReachExpert(Expert):
    """Moves the set-point straight to the goal."""

    def __call__(self) -> torch.Tensor:
        move = goal_position(self.env) - self.servo.set_position
        return self._action(move, torch.zeros_like(self.servo.set_yaw), OPEN)
