# SPDX-License-Identifier: BSD-3-Clause
"""Scripted policies that solve the tasks from privileged state: demonstrations, and a check that a task can be solved.

Each env is in a phase of its own. An expert is called once per env step and told which episodes ended::

    expert = PushExpert(env.unwrapped)
    actions = expert()
    _, _, terminated, truncated, _ = env.step(actions)
    expert.reset(terminated | truncated)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .mdp import goal_position, object_position
from .robot import tcp_position

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedRLEnv

OPEN, CLOSE = 1.0, -1.0


class Expert:
    """Common part: turns a target for the set-point into an action.

    Args:
        env: The unwrapped env.
        noise: Standard deviation of Gaussian noise added to the motion, in action units.
    """

    def __init__(self, env: ManagerBasedRLEnv, noise: float = 0.0):
        self.env = env
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

    def _action(self, move: torch.Tensor, yaw: torch.Tensor, gripper: float) -> torch.Tensor:
        """Action [N, 5] for a set-point displacement ``move`` [N, 3] [m] and a target ``yaw`` [N] [rad]."""
        delta = move / self.servo.cfg.position_step
        # The vector is scaled, not each component clipped: the path stays straight.
        delta = delta / delta.norm(dim=-1, keepdim=True).clamp_min(1.0)
        turn = ((yaw - self.servo.set_yaw) / self.servo.cfg.yaw_step).clamp(-1.0, 1.0)
        motion = torch.cat((delta, turn[:, None]), dim=-1)
        if self.noise:
            motion = motion + self.noise * torch.randn_like(motion)
        return torch.cat((motion, torch.full_like(turn, gripper)[:, None]), dim=-1)


class ReachExpert(Expert):
    """Moves the set-point straight to the goal."""

    def __call__(self) -> torch.Tensor:
        move = goal_position(self.env) - self.servo.set_position
        return self._action(move, torch.zeros_like(self.servo.set_yaw), OPEN)


class PushExpert(Expert):
    """Closes the gripper, goes down behind the cube, pushes with the wide side, and tries again when it slips off."""

    HOVER, DESCEND, PUSH, RETREAT = range(4)

    STANDOFF = 0.055
    """Distance behind the cube's centre where the gripper goes down [m]."""
    HOVER_HEIGHT, PUSH_HEIGHT, RETREAT_HEIGHT = 0.1, 0.02, 0.12  # [m]

    def __call__(self) -> torch.Tensor:
        tcp, cube = tcp_position(self.env), object_position(self.env, "cube")
        to_goal = (goal_position(self.env) - cube)[:, :2]
        distance = to_goal.norm(dim=-1).clamp_min(1e-4)
        ahead = to_goal / distance[:, None]
        side = torch.stack((-ahead[:, 1], ahead[:, 0]), dim=-1)
        offset = tcp[:, :2] - cube[:, :2]
        lateral, forward = (offset * side).sum(-1), (offset * ahead).sum(-1)

        # The fingers are wide along the hand's y axis, which belongs across the push (either way round).
        across = torch.remainder(torch.atan2(ahead[:, 1], ahead[:, 0]) + torch.pi / 2, torch.pi) - torch.pi / 2
        yaw = torch.where(self.phase == self.HOVER, across, self.servo.set_yaw)

        target = self._targets(tcp, cube, ahead, side, distance, lateral)
        pushing = self.phase == self.PUSH
        # While pushing, the set-point leads the measured TCP; otherwise it travels on its own.
        move = target - torch.where(pushing[:, None], tcp, self.servo.set_position)
        move[:, 2] = torch.where(pushing, self.PUSH_HEIGHT - self.servo.set_position[:, 2], move[:, 2])
        action = self._action(move, yaw, CLOSE)

        error = (target - tcp).norm(dim=-1)
        aligned = (yaw - self.servo.set_yaw).abs() < 0.08
        self._advance(error, aligned, lateral, forward, distance, tcp[:, 2])
        return action

    def _targets(self, tcp, cube, ahead, side, distance, lateral) -> torch.Tensor:
        """Target of the TCP in the present phase [N, 3] [m]."""

        def at(xy: torch.Tensor, height: float) -> torch.Tensor:
            return torch.cat((xy, torch.full_like(xy[:, :1], height)), dim=-1)

        behind = cube[:, :2] - ahead * self.STANDOFF
        advance = 0.6 * (distance + 0.004).clamp(max=0.02)
        # A sideways gain near 1 keeps the gripper behind the centre, where a push does not turn the cube away.
        correction = (0.8 * lateral).clamp(-0.01, 0.01)
        push = tcp[:, :2] + ahead * advance[:, None] - side * correction[:, None]
        targets = torch.stack(
            (
                at(behind, self.HOVER_HEIGHT),
                at(behind, self.PUSH_HEIGHT),
                at(push, self.PUSH_HEIGHT),
                at(tcp[:, :2], self.RETREAT_HEIGHT),
            ),
            dim=1,
        )
        return targets.gather(1, self.phase[:, None, None].expand(-1, 1, 3)).squeeze(1)

    def _advance(self, error, aligned, lateral, forward, distance, height) -> None:
        """Move each env on to its next phase where its present one is done or takes too long."""
        self.clock += 1
        phase, clock = self.phase, self.clock
        slipped = (lateral.abs() > 0.03) | (forward > 0.0)
        after = phase.clone()
        after[(phase == self.HOVER) & (((error < 0.012) & aligned) | (clock > 60))] = self.DESCEND
        after[(phase == self.DESCEND) & ((error < 0.008) | (clock > 25))] = self.PUSH
        after[(phase == self.PUSH) & ((distance < 0.012) | slipped | (clock > 80))] = self.RETREAT
        after[(phase == self.RETREAT) & (height > 0.09) & (distance > 0.035)] = self.HOVER
        self.clock = torch.where(after != phase, 0, clock)
        self.phase = after
