# SPDX-License-Identifier: BSD-3-Clause
"""What every scripted expert shares: phases per env, and the way from a target to an action."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gr00t_rl.tasks.experts import ScriptedExpert

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedRLEnv

OPEN, CLOSE = 1.0, -1.0
"""Gripper actions."""


class Expert(ScriptedExpert):
    """A scripted policy for the arm over the table.

    Args:
        env: The unwrapped env.
        noise: Standard deviation of Gaussian noise added to the motion, in action units.
    """

    noisy_actions = 4
    """The arm's; the gripper does what it should."""

    def __init__(self, env: ManagerBasedRLEnv, noise: float = 0.0):
        super().__init__(env)
        self.noise = noise
        self.servo = env.action_manager.get_term("arm")
        self.phase = torch.zeros(env.num_envs, dtype=torch.long, device=env.device)
        """Phase of each env [N]."""
        self.clock = torch.zeros_like(self.phase)
        """Env steps since the phase began [N]."""

    def __call__(self) -> torch.Tensor:
        """Actions [N, 5] for the present state."""
        raise NotImplementedError

    def reset(self, done: torch.Tensor) -> None:
        """Start over where an episode ended; ``done`` is bool [N]."""
        self.phase[done] = 0
        self.clock[done] = 0

    def _enter(self, phase: torch.Tensor) -> None:
        """Go on with ``phase`` [N]; the clock of envs whose phase changes starts at zero, the others' moves on."""
        self.clock = torch.where(phase != self.phase, 0, self.clock + 1)
        self.phase = phase

    def _action(
        self, move: torch.Tensor, yaw: torch.Tensor, gripper: torch.Tensor | float, speed: torch.Tensor | float = 1.0
    ) -> torch.Tensor:
        """Action [N, 5] that takes the set-point towards a target.

        Args:
            move: Displacement to the target [N, 3] [m].
            yaw: Yaw of the target [N] [rad].
            gripper: ``OPEN`` or ``CLOSE``, for all envs or for each [N].
            speed: Largest length of the motion in action units, for all envs or for each [N].
        """
        delta = move / self.servo.cfg.position_step
        # The vector is scaled, not each component clipped: the path stays straight.
        length = delta.norm(dim=-1).clamp_min(1e-6)
        delta = delta * (speed / length).clamp_max(1.0)[:, None]
        turn = ((yaw - self.servo.set_yaw) / self.servo.cfg.yaw_step).clamp(-1.0, 1.0)
        motion = torch.cat((delta, turn[:, None]), dim=-1)
        if self.noise:
            motion = motion + self.noise * torch.randn_like(motion)
        return torch.cat((motion, (torch.zeros_like(turn) + gripper)[:, None]), dim=-1)


def at_height(xy: torch.Tensor, height: torch.Tensor | float) -> torch.Tensor:
    """Points [N, 3] [m] over ``xy`` [N, 2 or more] at ``height``, one for all or [N]."""
    return torch.cat((xy[:, :2], (torch.zeros_like(xy[:, 0]) + height)[:, None]), dim=-1)
