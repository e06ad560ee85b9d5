# SPDX-License-Identifier: BSD-3-Clause
"""An env whose evaluations end as planned, and whose starts are drawn from torch's own generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from helpers import PointMassEnv

WIN, LENGTH = 2, 5
"""Env steps of an evaluated success, and of a failure."""


class PlannedEnv(PointMassEnv):
    """In the k-th evaluation the first ``plan[k]`` envs succeed after 2 steps, and the others fail after 5.

    An evaluated step pays 1. What happens in training is the same whatever the plan.

    Args:
        plan: Successes by evaluation; the last number holds for all further ones.
        success: Whether success is reported.
        group_size: Neighbours that start alike in training; 0 for an env without groups.
        on_step: Called with every evaluated step's number in its evaluation.
    """

    evaluating = False
    common_step_counter = 0

    def __init__(
        self,
        plan: Sequence[int] = (0,),
        success: bool = True,
        group_size: int = 0,
        on_step: Callable[[int], None] = lambda step: None,
        **options: Any,
    ) -> None:
        self.plan, self.success, self.group_size, self.on_step = list(plan), success, group_size, on_step
        self.evaluations = self.clock = 0
        self.evaluated: list[tuple[Any, torch.Tensor]] = []
        """Observations and actions of the evaluated steps."""
        self.starts: list[torch.Tensor] = []
        """Where the envs stood after the resets of evaluations."""
        self.resets: list[bool] = []
        """Of each reset of all envs, whether it was one of an evaluation."""
        super().__init__(**{"num_envs": 4, "max_episode_length": LENGTH, **options})
        if group_size:
            self.cfg.start_group_size = group_size  # type: ignore[attr-defined]

    def _start(self, n: int) -> torch.Tensor:
        return 2.0 * torch.rand(n, 2) - 1.0

    def reset(self) -> tuple[Any, dict[str, Any]]:
        self.position = self._start(self.num_envs)
        if self.group_size and not self.evaluating:
            self.position = self.position[:: self.group_size].repeat_interleave(self.group_size, dim=0)
        self.episode_length_buf = torch.zeros(self.num_envs, dtype=torch.long)
        self.resets.append(self.evaluating)
        if self.evaluating:
            self.evaluations, self.clock = self.evaluations + 1, 0
            self.starts.append(self.position.clone())
        return self._observe(), {"log": {"charts/success_rate": 0.5}}

    def step(self, actions: torch.Tensor) -> tuple[Any, torch.Tensor, torch.Tensor, dict[str, Any]]:
        self.common_step_counter += 1
        if not self.evaluating:
            obs, rewards, dones, extras = super().step(actions)
            if self.success:
                extras["success"] = dones.bool() & ~extras["time_outs"]
            return obs, rewards, dones.clone(), extras
        self.evaluated.append((self._observe(fresh=True), actions.clone()))
        self.clock += 1
        self.on_step(self.clock)
        self.position = self.position + 0.2 * actions.clamp(-1.0, 1.0)
        self.episode_length_buf = self.episode_length_buf + 1
        winners = torch.arange(self.num_envs) < self.plan[min(self.evaluations, len(self.plan)) - 1]
        dones = self.episode_length_buf >= torch.where(winners, WIN, LENGTH)
        extras = {"success": dones & winners} if self.success else {}
        self.position[dones] = self._start(int(dones.sum()))
        self.episode_length_buf[dones] = 0
        return self._observe(), torch.ones(self.num_envs), dones.long(), extras
