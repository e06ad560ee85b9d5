# SPDX-License-Identifier: BSD-3-Clause
"""N1.7's normalisation of states and actions: N1.5's modes, but for clipping, constant numbers and steps of a chunk.

- Numbers that did not vary become 0, whether scaled by extremes or by percentiles; N1.5 keeps them in the second case.
- What leaves the data's range is clipped where the checkpoint says so, and always on the way back.
- Statistics may differ from step to step of an action chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..normalise import SIN_COS, Stats

RANGES = {"min_max": ("min", "max"), "q99": ("q01", "q99")}
"""Mode -> the statistics that become -1 and 1."""
NEEDS = {**RANGES, "mean_std": ("mean", "std")}
"""Mode -> the statistics that it reads."""


class ScaledKey(NamedTuple):
    """Consecutive numbers of a vector that are treated alike: one modality key."""

    dim: int
    mode: str | None
    """A name in ``NEEDS``, ``SIN_COS``, or None for numbers that stay as they are."""
    stats: Stats
    """What the mode needs, each float32 [dim], or [steps, dim] for a chunk."""
    clip: bool = False
    """Whether normalised numbers are clipped to [-1, 1]."""


class Scaler(nn.Module):
    """Normalises a vector of several keys, or chunks of such vectors, all keys at once.

    Args:
        keys: In the vector's order.
        steps: Steps of a chunk; where statistics are of fewer, the last ones hold for the rest, which no data has.
    """

    _table: Tensor

    def __init__(self, keys: Sequence[ScaledKey], steps: int = 1):
        super().__init__()
        self.dims = [key.dim for key in keys]
        self.modes = [key.mode for key in keys]
        per_step = any(values.ndim == 2 for key in keys for values in key.stats.values())
        rows = [_coefficients(key, steps if per_step else 1) for key in keys]
        # one buffer for all; its rows are those of _coefficients
        self.register_buffer("_table", torch.cat(rows, dim=-1).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Raw [..., D] or [..., steps, D] -> normalised, wider than D by the angles of sin_cos keys."""
        low, span, slope, shift, bound, *_ = self._rows(x)
        y = ((x - low) / span * slope + shift).clamp(-bound, bound)
        if SIN_COS not in self.modes:
            return y
        parts = zip(self.modes, y.split(self.dims, dim=-1), strict=True)
        return torch.cat([torch.cat([p.sin(), p.cos()], -1) if mode == SIN_COS else p for mode, p in parts], dim=-1)

    def inverse(self, y: Tensor) -> Tensor:
        """Normalised [..., D] or [..., steps, D] -> raw.

        Raises:
            ValueError: There is a sin_cos key.
        """
        if SIN_COS in self.modes:
            raise ValueError("sines and cosines are not turned back into angles: they are for states, not for actions")
        low, _, _, _, _, width, bound, offset = self._rows(y)
        return (y.clamp(-bound, bound) + offset) * width + low

    def _rows(self, x: Tensor) -> tuple[Tensor, ...]:
        """Coefficients, each [D] or, of as many steps as ``x`` has, [steps, D]."""
        if self._table.shape[1] == 1:
            return self._table[:, 0].unbind()
        return self._table[:, : x.shape[-2]].unbind()


def _coefficients(key: ScaledKey, steps: int) -> Tensor:
    """float64 [8, steps, dim]: low, span, slope, shift and bound; width, bound and offset of the inverse.

    Forward: clip((x - low) / span * slope + shift); inverse: (clip(y) + offset) * width + low.
    """
    zero = torch.zeros(steps, key.dim, dtype=torch.float64)
    one, free = zero + 1, zero + torch.inf
    bound = one if key.clip else free
    if key.mode in RANGES:
        low, high = (_per_step(key.stats[name], steps) for name in RANGES[key.mode])
        constant = torch.isclose(high, low)  # numpy's tolerances, as the release's
        span = torch.where(constant, one, high - low)
        slope, shift = torch.where(constant, zero, 2 * one), torch.where(constant, zero, -one)
        # the inverse makes no exception of constant numbers: their range is all but 0
        return torch.stack([low, span, slope, shift, bound, (high - low) / 2, one, one])
    if key.mode == "mean_std":
        mean, std = (_per_step(key.stats[name], steps) for name in NEEDS["mean_std"])
        mean, std = torch.where(std == 0, zero, mean), torch.where(std == 0, one, std)
        return torch.stack([mean, std, one, zero, bound, std, free, zero])
    return torch.stack([zero, one, one, zero, free, one, free, zero])


def _per_step(values: Tensor, steps: int) -> Tensor:
    """[dim] or [n, dim] -> float64 [steps, dim]."""
    values = values.double().reshape(-1, values.shape[-1])[:steps]
    return torch.cat([values, values[-1:].expand(steps - len(values), -1)])
