# SPDX-License-Identifier: BSD-3-Clause
"""The expert of Cubes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gr00t_rl.utils.instructions import task_names

from ..mdp import instruction_index
from .base import Expert
from .pick_place import PickPlaceExpert
from .push import PushExpert
from .stack import StackExpert

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedRLEnv


class CubesExpert(Expert):
    """The experts of the tasks side by side; every env does what the one says that its instruction asks for."""

    EXPERTS = {"push": PushExpert, "pick_place": PickPlaceExpert, "stack": StackExpert}

    def __init__(self, env: ManagerBasedRLEnv, noise: float = 0.0):
        super().__init__(env, noise)
        self.experts = [self.EXPERTS[name](env, noise) for name in task_names(env.cfg)]

    def __call__(self) -> torch.Tensor:
        actions = torch.stack([expert() for expert in self.experts], dim=1)
        number = instruction_index(self.env)[:, :, None].expand(-1, 1, actions.shape[-1])
        return actions.gather(1, number).squeeze(1)

    def reset(self, done: torch.Tensor) -> None:
        super().reset(done)
        for expert in self.experts:
            expert.reset(done)
