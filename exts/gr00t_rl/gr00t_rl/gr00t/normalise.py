# SPDX-License-Identifier: BSD-3-Clause
"""The normalisations of GR00T's data configs, forward and inverse, as pure functions of a tensor and its statistics.

``stats`` are the tensors [dim] of one modality key in ``experiment_cfg/metadata.json``: min, max, mean, std, q01, q99.
Each inverse undoes its forward, also in a dimension that never varied in the data (``binary`` thresholds again).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Stats = Mapping[str, Tensor]


def min_max(x: Tensor, stats: Stats) -> Tensor:
    """[min, max] -> [-1, 1]; 0 where min = max."""
    low, span = stats["min"], stats["max"] - stats["min"]
    return torch.where(span == 0, torch.zeros_like(x), _to_unit(x, low, span))


def min_max_inverse(y: Tensor, stats: Stats) -> Tensor:
    """[-1, 1] -> [min, max]; min where min = max."""
    return (y + 1) / 2 * (stats["max"] - stats["min"]) + stats["min"]


def q99(x: Tensor, stats: Stats) -> Tensor:
    """[q01, q99] -> [-1, 1], clipped; x itself where q01 = q99."""
    low, span = stats["q01"], stats["q99"] - stats["q01"]
    return torch.where(span == 0, x, _to_unit(x, low, span).clamp(-1, 1))


def q99_inverse(y: Tensor, stats: Stats) -> Tensor:
    """[-1, 1] -> [q01, q99]; y itself where q01 = q99."""
    span = stats["q99"] - stats["q01"]
    return torch.where(span == 0, y, (y + 1) / 2 * span + stats["q01"])


def mean_std(x: Tensor, stats: Stats) -> Tensor:
    """(x - mean) / std; x itself where std = 0."""
    std = stats["std"]
    return torch.where(std == 0, x, (x - stats["mean"]) / _nonzero(std))


def mean_std_inverse(y: Tensor, stats: Stats) -> Tensor:
    """y * std + mean; y itself where std = 0."""
    return torch.where(stats["std"] == 0, y, y * stats["std"] + stats["mean"])


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


NORMALISERS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "min_max": (min_max, min_max_inverse),
    "q99": (q99, q99_inverse),
    "mean_std": (mean_std, mean_std_inverse),
    "scale": (scale, scale_inverse),
    "binary": (binary, binary),
}
"""Mode -> (forward, inverse)."""


def normalise(mode: str, x: Tensor, stats: Stats) -> Tensor:
    """Raw [..., dim] -> normalised [..., dim]. Raises ValueError for an unknown mode."""
    return _pair(mode)[0](x, stats)


def denormalise(mode: str, y: Tensor, stats: Stats) -> Tensor:
    """Normalised [..., dim] -> raw [..., dim]. Raises ValueError for an unknown mode."""
    return _pair(mode)[1](y, stats)


def _pair(mode: str) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    if mode not in NORMALISERS:
        raise ValueError(f"normalisation mode is {mode!r}: set one of {', '.join(NORMALISERS)}")
    return NORMALISERS[mode]


def _to_unit(x: Tensor, low: Tensor, span: Tensor) -> Tensor:
    return 2 * (x - low) / _nonzero(span) - 1


def _nonzero(x: Tensor) -> Tensor:
    # The branch that torch.where drops must stay finite, or its gradient is NaN.
    return torch.where(x == 0, torch.ones_like(x), x)
