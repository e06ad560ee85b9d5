# SPDX-License-Identifier: BSD-3-Clause
"""The part that the grasping experts share: take the cube, notice when it is lost, and try again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from ..mdp import object_position, object_yaw
from ..robot import tcp_position
from .base import CLOSE, OPEN, Expert, at_height

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedRLEnv


class Phase(NamedTuple):
    """When a phase ends, and how the arm moves in it."""

    limit: int
    """Env steps after which it ends in any case."""
    tolerance: float
    """Distance of the TCP from its target at which it ends [m]; 0 waits for the limit."""
    speed: float
    """Largest motion of the set-point, in action units."""
    gripper: float
    """``OPEN`` or ``CLOSE``."""


class GraspExpert(Expert):
    """Goes over the red cube, down, closes and lifts; what follows is up to the subclass.

    The phases are tables of numbers, indexed by each env's phase, so that all envs move in one go.
    """

    HOVER, DESCEND, GRIP, LIFT, CARRY = range(5)

    PHASES = (
        Phase(limit=40, tolerance=0.012, speed=1.0, gripper=OPEN),
        Phase(limit=25, tolerance=0.006, speed=0.6, gripper=OPEN),
        Phase(limit=8, tolerance=0.0, speed=0.3, gripper=CLOSE),
        Phase(limit=25, tolerance=0.02, speed=0.8, gripper=CLOSE),
    )
    """HOVER, DESCEND, GRIP, LIFT; a subclass adds CARRY and what else it needs."""

    HOVER_HEIGHT, GRASP_HEIGHT, LIFT_HEIGHT = 0.12, 0.022, 0.17  # of the TCP over the table [m]

    SLIP = 0.03
    """Distance of the cube from the TCP at which it is no longer in the grasp [m]."""

    ALIGNED = 0.06
    """Largest error of the yaw at the end of a phase [rad]."""

    def __init__(self, env: ManagerBasedRLEnv, noise: float = 0.0):
        super().__init__(env, noise)

        def table(values: list, dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.tensor(values, dtype=dtype, device=env.device)

        self._limit = table([phase.limit for phase in self.PHASES], torch.long)
        self._tolerance = table([phase.tolerance for phase in self.PHASES])
        self._speed = table([phase.speed for phase in self.PHASES])
        self._gripper = table([phase.gripper for phase in self.PHASES])

    def __call__(self) -> torch.Tensor:
        tcp, cube = tcp_position(self.env), object_position(self.env, "cube")
        cube_yaw, hold = object_yaw(self.env, "cube"), self.servo.set_yaw
        here = self.servo.set_position
        after = self._after_lift(tcp, cube)
        targets = torch.stack(
            (
                at_height(cube, self.HOVER_HEIGHT),
                at_height(cube, self.GRASP_HEIGHT),
                here,
                at_height(here, self.LIFT_HEIGHT),
                *(target for target, _ in after),
            ),
            dim=1,
        )
        yaws = torch.stack((cube_yaw, cube_yaw, hold, hold, *(yaw for _, yaw in after)), dim=1)
        target = targets.gather(1, self.phase[:, None, None].expand(-1, 1, 3)).squeeze(1)
        yaw = yaws.gather(1, self.phase[:, None]).squeeze(1)
        action = self._action(target - here, yaw, self._gripper[self.phase], self._speed[self.phase])
        arrived = (target - tcp).norm(dim=-1) < self._tolerance[self.phase]
        self._advance(arrived & ((yaw - hold).abs() < self.ALIGNED), (cube - tcp).norm(dim=-1) > self.SLIP)
        return action

    def _after_lift(self, tcp: torch.Tensor, cube: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Targets of the TCP [N, 3] [m] and of its yaw [N] [rad] in each phase from CARRY on."""
        raise NotImplementedError

    def _advance(self, arrived: torch.Tensor, slipped: torch.Tensor) -> None:
        """Next phase where the present one is done; from the start where the cube is lost or the last one is over."""
        phase = self.phase
        after = (phase + (arrived | (self.clock + 1 >= self._limit[phase]))) % len(self.PHASES)
        carrying = (phase >= self.LIFT) & (self._gripper[phase] == CLOSE)
        self._enter(torch.where(carrying & slipped, self.HOVER, after))
