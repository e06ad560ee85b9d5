# SPDX-License-Identifier: BSD-3-Clause
"""The normalisations of GR00T's data configs: pure functions of a tensor and its statistics, and whole vectors of keys.

``stats`` are the tensors [dim] of one modality key in ``experiment_cfg/metadata.json``: min, max, mean, std, q01, q99.
What a dimension gets that never varied in the data is the release's (``Normalizer`` of
gr00t/data/transform/state_action.py): its inverse is the value that the data had, whatever the network says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Stats = Mapping[str, Tensor]

STATISTICS: tuple[str, ...] = ("min", "max", "mean", "std", "q01", "q99")
"""Names of a key's statistics in the metadata."""

SIN_COS = "sin_cos"
"""Mode of :class:`Normaliser` that replaces d angles by their d sines and d cosines; it has no inverse."""


def read_stats(table: Mapping[str, Any]) -> dict[str, Tensor]:
    """The statistics of a file's table for one key, float32.

    Raises:
        ValueError: One that is not numbers in lists of one length.
        TypeError: No table.
    """
    found = {}
    for name in (name for name in STATISTICS if name in table):
        try:
            found[name] = torch.tensor(table[name], dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            raise ValueError(f"{name} is not a list of numbers") from None
    return found


def min_max(x: Tensor, stats: Stats) -> Tensor:
    """[min, max] -> [-1, 1]; 0 where min = max."""
    low, span = stats["min"], stats["max"] - stats["min"]
    return torch.where(span == 0, torch.zeros_like(x), _to_unit(x, low, span))


def min_max_inverse(y: Tensor, stats: Stats) -> Tensor:
    """[-1, 1] -> [min, max]; min where min = max."""
    return (y + 1) / 2 * (stats["max"] - stats["min"]) + stats["min"]


def q99(x: Tensor, stats: Stats) -> Tensor:
    """[q01, q99] -> [-1, 1]; x itself where q01 = q99. Both clipped to [-1, 1], as in the release."""
    low, span = stats["q01"], stats["q99"] - stats["q01"]
    return torch.where(span == 0, x, _to_unit(x, low, span)).clamp(-1, 1)


def q99_inverse(y: Tensor, stats: Stats) -> Tensor:
    """[-1, 1] -> [q01, q99]; q01 where q01 = q99."""
    return (y + 1) / 2 * (stats["q99"] - stats["q01"]) + stats["q01"]


def mean_std(x: Tensor, stats: Stats) -> Tensor:
    """(x - mean) / std; x itself where std = 0."""
    std = stats["std"]
    return torch.where(std == 0, x, (x - stats["mean"]) / _nonzero(std))


def mean_std_inverse(y: Tensor, stats: Stats) -> Tensor:
    """y * std + mean; the mean where std = 0."""
    return y * stats["std"] + stats["mean"]


def scale(x: Tensor, stats: Stats) -> Tensor:
    """x / max(|min|, |max|); 0 where both are 0."""
    largest = torch.maximum(stats["min"].abs(), stats["max"].abs())
    return torch.where(largest == 0, torch.zeros_like(x), x / _nonzero(largest))


def scale_inverse(y: Tensor, stats: Stats) -> Tensor:
    """y * max(|min|, |max|)"""
    return y * torch.maximum(stats["min"].abs(), stats["max"].abs())


def binary(x: Tensor, stats: Stats | None = None) -> Tensor:
    """1 where x > 0.5, else 0, in the type of x. Its own inverse."""
    return (x > 0.5).to(x.dtype)


class Mode(NamedTuple):
    """One way to normalise."""

    forward: Callable[..., Tensor]
    inverse: Callable[..., Tensor]
    needs: tuple[str, ...]
    """The statistics it reads."""


MODES = {
    "min_max": Mode(min_max, min_max_inverse, ("min", "max")),
    "q99": Mode(q99, q99_inverse, ("q01", "q99")),
    "mean_std": Mode(mean_std, mean_std_inverse, ("mean", "std")),
    "scale": Mode(scale, scale_inverse, ("min", "max")),
    "binary": Mode(binary, binary, ()),
}
"""The names that data configs use."""


def normalise(mode: str, x: Tensor, stats: Stats) -> Tensor:
    """Raw [..., dim] -> normalised [..., dim]. Raises ValueError for an unknown mode."""
    return _mode(mode).forward(x, stats)


def denormalise(mode: str, y: Tensor, stats: Stats) -> Tensor:
    """Normalised [..., dim] -> raw [..., dim]. Raises ValueError for an unknown mode."""
    return _mode(mode).inverse(y, stats)


def _mode(name: str) -> Mode:
    if name not in MODES:
        raise ValueError(f"normalisation mode is {name!r}: set one of {', '.join(MODES)}")
    return MODES[name]


class Part(NamedTuple):
    """Consecutive numbers of a vector that are normalised alike: one modality key."""

    dim: int
    mode: str | None
    """A name in ``MODES``, ``SIN_COS``, or None for numbers that stay as they are."""
    stats: Stats
    """What the mode needs, each float32 [dim]."""


class Normaliser(nn.Module):
    """Normalises a vector of several keys, each in its own way. The statistics are buffers and move with the module.

    Args:
        parts: The keys in the vector's order.

    Raises:
        ValueError: An unknown mode.
    """

    _stats: Tensor

    def __init__(self, parts: Sequence[Part]):
        super().__init__()
        self.modes = [part.mode for part in parts]
        self.dims = [part.dim for part in parts]
        for mode in self.modes:
            if mode not in (None, SIN_COS):
                _mode(mode)
        # one buffer for all: [statistic, dim]; what no mode needs stays NaN, so that reading it by mistake shows
        stats = torch.full((len(STATISTICS), sum(self.dims)), torch.nan)
        start = 0
        for part in parts:
            for row, name in enumerate(STATISTICS):
                if name in part.stats:
                    stats[row, start : start + part.dim] = part.stats[name]
            start += part.dim
        self.register_buffer("_stats", stats, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Raw [..., D] -> normalised [..., D'], wider than D by the angles of sin_cos keys."""
        return self._key_by_key(x, inverse=False)

    def inverse(self, y: Tensor) -> Tensor:
        """Normalised [..., D] -> raw [..., D].

        Raises:
            ValueError: There is a sin_cos key.
        """
        if SIN_COS in self.modes:
            raise ValueError("sines and cosines are not turned back into angles: they are for states, not for actions")
        return self._key_by_key(y, inverse=True)

    def _key_by_key(self, x: Tensor, inverse: bool) -> Tensor:
        if not any(self.modes):
            return x
        parts = x.split(self.dims, dim=-1)
        tables = self._stats.split(self.dims, dim=-1)
        results = []
        for mode, part, table in zip(self.modes, parts, tables, strict=True):
            if mode is None:
                results.append(part)
            elif mode == SIN_COS:
                results += [part.sin(), part.cos()]
            else:
                stats = dict(zip(STATISTICS, table.unbind(), strict=True))
                results.append((denormalise if inverse else normalise)(mode, part, stats))
        return torch.cat(results, dim=-1)


def _to_unit(x: Tensor, low: Tensor, span: Tensor) -> Tensor:
    return 2 * (x - low) / _nonzero(span) - 1


def _nonzero(x: Tensor) -> Tensor:
    # The branch that torch.where drops must stay finite, or its gradient is NaN.
    return torch.where(x == 0, torch.ones_like(x), x)
