# SPDX-License-Identifier: BSD-3-Clause
"""Success: the one place that decides it, counts it and reports it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from isaaclab.managers import ManagerTermBase, TerminationTermCfg

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedRLEnv

SUCCESS_RATE_TAG = "charts/success_rate"
_MIN_HISTORY = 256


class held_success(ManagerTermBase):
    """True [N] once a success test has held without a break for ``hold_s`` seconds.

    Reports, for loggers and algorithms:

    - ``env.extras["success"]``: bool [N], each step. Where an episode has just ended it says whether it succeeded.
    - ``env.extras["log"]["charts/success_rate"]``: at episode ends, the share of successes among the last
      max(256, num_envs) finished episodes (of fewer while there are fewer, 0 while there is none), as a 0-d tensor.

    Episodes that a caller abandons with ``env.reset()`` are not counted.

    Params:
        test: Function of the env that says whether the task is done at this instant, bool [N].
        hold_s: How long it must hold [s].
    """

    def __init__(self, cfg: TerminationTermCfg, env: ManagerBasedRLEnv):
        super().__init__(cfg, env)
        self._hold_steps = max(1, math.ceil(cfg.params["hold_s"] / env.step_dt - 1e-6))
        self._held = torch.zeros(env.num_envs, dtype=torch.long, device=env.device)
        self._success = torch.zeros(env.num_envs, dtype=torch.bool, device=env.device)
        self._history = SuccessHistory(max(_MIN_HISTORY, env.num_envs), env.device)
        env.extras["success"] = self._success

    def __call__(
        self, env: ManagerBasedRLEnv, test: Callable[[ManagerBasedRLEnv], torch.Tensor], hold_s: float
    ) -> torch.Tensor:
        self._held = torch.where(test(env), self._held + 1, 0)
        self._success = self._held >= self._hold_steps
        env.extras["success"] = self._success
        return self._success

    def reset(self, env_ids: Sequence[int] | None = None) -> None:
        ids = slice(None) if env_ids is None else env_ids
        # An env is reset because its episode ended, or because someone called env.reset(): only the first counts.
        ended = self._env.reset_buf[ids] & (self._env.episode_length_buf[ids] > 0)
        self._history.append(self._success[ids], ended)
        self._held[ids] = 0
        self._env.extras["log"][SUCCESS_RATE_TAG] = self._history.rate()


class SuccessHistory:
    """Ring buffer of the last outcomes, kept and averaged on the device."""

    def __init__(self, size: int, device: str | torch.device):
        self._size = size
        # One slot more than the ring: masked outcomes are written there, so that no shape depends on data.
        self._outcomes = torch.zeros(size + 1, device=device)
        self._total = torch.zeros((), dtype=torch.long, device=device)

    def append(self, success: torch.Tensor, valid: torch.Tensor) -> None:
        """Record the outcomes [n] (bool) that are ``valid`` [n] (bool); n is at most the size of the ring."""
        slot = (self._total + valid.cumsum(0) - 1) % self._size
        self._outcomes[torch.where(valid, slot, self._size)] = success.float()
        self._total += valid.sum()

    def rate(self) -> torch.Tensor:
        """Share of successes among the recorded outcomes, a 0-d float tensor; 0 if there are none."""
        return self._outcomes[: self._size].sum() / self._total.clamp(1, self._size)
