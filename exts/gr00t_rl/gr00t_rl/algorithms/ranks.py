# SPDX-License-Identifier: BSD-3-Clause
"""What the processes that train together know of each other's numbers."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed as dist


class Moments(NamedTuple):
    """What a metric needs of numbers that lie on several ranks."""

    count: float
    total: float
    deviations: float
    """Sum of the squared deviations from the mean."""
    low: float
    high: float

    @property
    def mean(self) -> float:
        """Mean over all numbers; 0 of none."""
        return self.total / self.count if self.count > 0 else 0.0

    @property
    def variance(self) -> float:
        """Population variance; 0 of none."""
        return self.deviations / self.count if self.count > 0 else 0.0

    @property
    def std(self) -> float:
        """Unbiased standard deviation; 0 of fewer than two numbers."""
        return (self.deviations / (self.count - 1)) ** 0.5 if self.count > 1 else 0.0


class Tally:
    """Collects numbers by name on every rank, and exchanges them all at once.

    All ranks add the same names. Sums are float64, and squares those of deviations from each rank's own mean (Chan,
    Golub & LeVeque, 1979), so that numbers that do not vary have no variance.

    Args:
        device: Device of the numbers.
        world_size: Number of ranks; without a process group, 1.
    """

    def __init__(self, device: str | torch.device, world_size: int = 1) -> None:
        self.device, self.world_size = device, world_size
        self._rows: dict[str, torch.Tensor] = {}
        self._means: set[str] = set()

    def add(self, name: str, values: torch.Tensor | float) -> None:
        """Add numbers that metrics are made of: all of ``values``, any shape, possibly none."""
        x = self._numbers(values).flatten()
        low, high = x.aminmax() if x.numel() > 0 else (self._numbers(torch.inf), self._numbers(-torch.inf))
        deviations = (x - x.sum() / max(x.numel(), 1)).square().sum()
        self._rows[name] = torch.stack((self._numbers(x.numel()), x.sum(), deviations, low, high))

    def report(self, name: str, total: torch.Tensor | float, count: float) -> None:
        """Add this rank's part of the metric ``name``: the sum of all totals over the sum of all counts."""
        unknown = self._numbers(torch.nan)
        self._rows[name] = torch.stack((self._numbers(count), self._numbers(total), unknown, unknown, unknown))
        self._means.add(name)

    def _numbers(self, values: torch.Tensor | float) -> torch.Tensor:
        """Return float64 numbers on the device; one that the host knows is written there, for a copy would wait."""
        if isinstance(values, torch.Tensor):
            return values.detach().to(self.device, torch.float64)
        return torch.full((), values, dtype=torch.float64, device=self.device)

    def exchange(self) -> tuple[dict[str, float], dict[str, Moments]]:
        """Return the metrics, and the moments of the other numbers, over all ranks.

        One exchange between the ranks, and one wait for the device.
        """
        names = sorted(self._rows)
        own = torch.stack([self._rows[name] for name in names])
        parts = [own]
        if self.world_size > 1:
            parts = [torch.empty_like(own) for _ in range(self.world_size)]
            dist.all_gather(parts, own)
        counts, totals, deviations, lows, highs = torch.stack(parts).unbind(-1)  # [ranks, names] each
        mean = totals.sum(0) / counts.sum(0).clamp_min(1e-9)
        between = counts * (totals / counts.clamp_min(1e-9) - mean).square()
        columns = (counts.sum(0), totals.sum(0), (deviations + between).sum(0), lows.amin(0), highs.amax(0))
        rows = torch.stack(columns, dim=-1).tolist()
        moments = {name: Moments(*row) for name, row in zip(names, rows, strict=True)}
        metrics = {name: moments.pop(name).mean for name in sorted(self._means)}
        return metrics, moments
