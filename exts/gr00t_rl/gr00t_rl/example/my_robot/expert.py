"""The scripted expert: the joint angles with which the tip is at the goal, and the way there."""

import torch

from gr00t_rl.tasks.experts import ScriptedExpert
from gr00t_rl.tasks.mdp import goal_position

from .arm import FOREARM, UPPER_ARM

GAIN, SPEED = 4.0, 1.5
"""Velocity per error of a joint [1/s], and the largest one [rad/s]."""


class ReachExpert(ScriptedExpert):
    """Turns both joints towards their angles at the goal."""

    def __call__(self) -> torch.Tensor:
        x, y, _ = goal_position(self.env).unbind(dim=-1)
        cosine = (x**2 + y**2 - UPPER_ARM**2 - FOREARM**2) / (2 * UPPER_ARM * FOREARM)
        elbow = torch.acos(cosine.clamp(-1.0, 1.0))
        shoulder = torch.atan2(y, x) - torch.atan2(FOREARM * elbow.sin(), UPPER_ARM + FOREARM * elbow.cos())
        error = torch.stack((shoulder, elbow), dim=-1) - self.env.scene["robot"].data.joint_pos.torch
        return (GAIN * error).clamp(-SPEED, SPEED)
