# SPDX-License-Identifier: BSD-3-Clause
"""Statistics of recorded vectors, as GR00T's normalisation wants them."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .layout import Slice

NAMES = ("min", "max", "mean", "std", "q01", "q99")


def statistics(values: torch.Tensor) -> dict[str, list[float]]:
    """Minimum, maximum, mean, standard deviation and the 1 % and 99 % quantiles of each column.

    The standard deviation is that of the population (divided by F), quantiles are interpolated linearly: what GR00T's
    ``calculate_dataset_statistics`` computes.

    Args:
        values: Numbers [F, D] of any type.

    Raises:
        ValueError: If there are no rows.
    """
    if len(values) == 0:
        raise ValueError("no frames to compute statistics of")
    x = values.double()
    # sorted columns, because torch.quantile refuses more than 16 million numbers
    ordered = x.sort(dim=0).values
    found = {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": x.mean(0),
        "std": x.std(0, correction=0),
        "q01": _quantile(ordered, 0.01),
        "q99": _quantile(ordered, 0.99),
    }
    return {name: found[name].tolist() for name in NAMES}


def _quantile(ordered: torch.Tensor, q: float) -> torch.Tensor:
    """Quantile of sorted columns [F, D], interpolated between neighbours: [D]."""
    position = q * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return torch.lerp(ordered[low], ordered[high], position - low)


def by_key(stats: Mapping[str, list[float]], parts: Mapping[str, Slice]) -> dict[str, dict[str, list[float]]]:
    """Statistics of a whole vector, divided into its modality keys: key -> statistic -> one number per dimension."""
    return {key: {name: values[part.start : part.end] for name, values in stats.items()} for key, part in parts.items()}


def picture_statistics(pictures: torch.Tensor) -> dict[str, list]:
    """Statistics of uint8 pictures [T, H, W, 3] as LeRobot keeps them per episode: of values in [0, 1], [3][1][1]."""
    x = pictures.flatten(0, 2).double() / 255.0
    found = {"min": x.amin(0), "max": x.amax(0), "mean": x.mean(0), "std": x.std(0, correction=0)}
    return {name: value[:, None, None].tolist() for name, value in found.items()}
