# SPDX-License-Identifier: BSD-3-Clause
"""Outcomes of the last episodes, kept and averaged on the device."""

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
