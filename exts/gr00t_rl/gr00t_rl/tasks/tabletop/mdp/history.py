# SPDX-License-Identifier: BSD-3-Clause
"""Outcomes of episodes, kept and averaged on the device."""

from __future__ import annotations

import torch


class OutcomeHistory:
    """Ring buffer of the last ``size`` outcomes of ``kinds`` numbers each (0 or 1 for a kind of ending)."""

    def __init__(self, size: int, kinds: int, device: str | torch.device):
        self._size = size
        # One slot more than the ring: masked outcomes are written there, so that no shape depends on data.
        self._outcomes = torch.zeros(size + 1, kinds, device=device)
        self._total = torch.zeros((), dtype=torch.long, device=device)

    def append(self, outcomes: torch.Tensor, valid: torch.Tensor) -> None:
        """Record the outcomes [n, kinds] that are ``valid`` [n] (bool); n is at most the size of the ring."""
        slot = (self._total + valid.cumsum(0) - 1) % self._size
        self._outcomes[torch.where(valid, slot, self._size)] = outcomes.float()
        self._total += valid.sum()

    def mean(self) -> torch.Tensor:
        """Mean of the recorded outcomes [kinds], float; 0 if there are none."""
        return self._outcomes[: self._size].sum(dim=0) / self._total.clamp(1, self._size)

    def full(self) -> torch.Tensor:
        """Has the ring been filled since the start or the last forgetting, a 0-d bool tensor."""
        return self._total >= self._size

    def forget(self, when: torch.Tensor) -> None:
        """Start anew where ``when``, a 0-d bool tensor, is true."""
        self._outcomes *= ~when
        self._total *= ~when


class OutcomesDue:
    """Outcomes of episodes, handed out ``horizon`` env steps after the episode began, whenever it ended.

    Counting episodes when they end is biased after all envs have begun together: until a whole episode's time has
    passed, only quick successes have ended, and the success rate of an untrained policy reads 100 %. Here every episode
    that lasts at most ``horizon`` steps waits for those that began with it.

    Args:
        num_envs: Number of envs N.
        horizon: Longest episode [env steps], at least 1.
        device: Where outcomes are kept: (horizon + 1) · N · 2 bytes.
    """

    def __init__(self, num_envs: int, horizon: int, device: str | torch.device):
        self._horizon, self._now = horizon, 0
        # One row more than there are beginnings: outcomes that do not count are written there.
        self._codes = torch.zeros(horizon + 1, num_envs, dtype=torch.int16, device=device)

    @property
    def any_due(self) -> bool:
        """Have codes of a first episode been handed out by :meth:`step` since the start or :meth:`begin_anew`?"""
        return self._now > self._horizon

    @property
    def any_complete(self) -> bool:
        """Has a first episode's time passed at the end of this env step, so that :meth:`take` may hand out its code?"""
        return self._now >= self._horizon

    def step(self) -> torch.Tensor:
        """Begin an env step; returns the codes [N] of the episodes whose time is up, 0 where there is none."""
        row = self._now % self._horizon
        due = self._codes[row].clone()
        self._codes[row] = 0
        self._now += 1
        return due

    def take(self, when: torch.Tensor | bool = True) -> torch.Tensor:
        """End an env step; returns what the next :meth:`step` would, and hands it out once only.

        A reset of all envs comes between the two, and ends what is kept: without this, iterations of just one episode's
        length would never count any. All endings of the step must be recorded.

        Args:
            when: Only where it is true, a bool or 0-d bool tensor.
        """
        row = self._now % self._horizon
        due = self._codes[row] * when
        self._codes[row] -= due
        return due

    def record(self, env_ids: torch.Tensor | slice, codes: torch.Tensor, lengths: torch.Tensor) -> None:
        """Keep how episodes ended in this env step.

        Args:
            env_ids: The n envs.
            codes: What is to be handed out, positive int [n]; 0 for an episode that does not count.
            lengths: How long they lasted [env steps], int [n]; more than the horizon is taken for the horizon. One that
                began before the start does not count.
        """
        lengths = lengths.clamp(max=self._horizon)  # an env that was not finite is ended a step later (quarantine)
        begun = self._now - lengths
        counts = (codes > 0) & (begun >= 0) & (lengths > 0)
        rows = torch.where(counts, begun % self._horizon, self._horizon)
        envs = torch.arange(self._codes.shape[1], device=rows.device)[env_ids]
        self._codes[rows, envs] = codes.to(torch.int16)

    def forget(self, when: torch.Tensor) -> None:
        """Drop all that is kept where ``when``, a 0-d bool tensor, is true."""
        self._codes *= ~when

    def begin_anew(self) -> None:
        """Drop all that is kept, and every episode that is under way."""
        if self._now:
            self._codes.zero_()
            self._now = 0
