# SPDX-License-Identifier: BSD-3-Clause
"""The expert of Push."""

from __future__ import annotations

import torch

from ..mdp import goal_position, object_position
from ..robot import tcp_position
from .base import CLOSE, Expert, at_height


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
        behind = cube[:, :2] - ahead * self.STANDOFF
        advance = 0.6 * (distance + 0.004).clamp(max=0.02)
        # A sideways gain near 1 keeps the gripper behind the centre, where a push does not turn the cube away.
        correction = (0.8 * lateral).clamp(-0.01, 0.01)
        push = tcp[:, :2] + ahead * advance[:, None] - side * correction[:, None]
        targets = torch.stack(
            (
                at_height(behind, self.HOVER_HEIGHT),
                at_height(behind, self.PUSH_HEIGHT),
                at_height(push, self.PUSH_HEIGHT),
                at_height(tcp, self.RETREAT_HEIGHT),
            ),
            dim=1,
        )
        return targets.gather(1, self.phase[:, None, None].expand(-1, 1, 3)).squeeze(1)

    def _advance(self, error, aligned, lateral, forward, distance, height) -> None:
        """Move each env on to its next phase where its present one is done or takes too long."""
        phase, clock = self.phase, self.clock + 1
        slipped = (lateral.abs() > 0.03) | (forward > 0.0)
        after = phase.clone()
        after[(phase == self.HOVER) & (((error < 0.012) & aligned) | (clock > 60))] = self.DESCEND
        after[(phase == self.DESCEND) & ((error < 0.008) | (clock > 25))] = self.PUSH
        after[(phase == self.PUSH) & ((distance < 0.012) | slipped | (clock > 80))] = self.RETREAT
        after[(phase == self.RETREAT) & (height > 0.09) & (distance > 0.035)] = self.HOVER
        self._enter(after)
