# SPDX-License-Identifier: BSD-3-Clause
"""Is it finite? Rows of a batch, and whole training states."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

LIMIT = 1e15
"""Size beyond which a number counts as not finite: sums of squares of larger ones overflow in float32."""


def fine_rows(x: torch.Tensor) -> torch.Tensor:
    """Return which rows hold nothing but numbers of a usable size, bool [N], for floats [N, ...].

    Neither NaN nor infinity nor anything beyond :data:`LIMIT`.
    """
    # of short types infinity itself would pass a limit that they cannot hold
    fine = x.abs() <= min(LIMIT, torch.finfo(x.dtype).max)
    return fine.flatten(1).all(1) if x.dim() > 1 else fine


def all_fine(tensors: Iterable[torch.Tensor], device: str | torch.device) -> bool:
    """Return whether all rows of all tensors are fine, see :func:`fine_rows`, at the price of one synchronisation."""
    # NaN is its own minimum and maximum
    edges = [edge.float().to(device) for x in tensors if x.numel() > 0 for edge in x.aminmax()]
    return not edges or bool((torch.stack(edges).abs() <= LIMIT).all())


def find_nonfinite(state: Any) -> str | None:
    """Return where a training state holds a number that is not finite, such as "actor_state_dict.mlp.0.weight".

    Args:
        state: Nested dicts, lists and tuples with tensors and numbers; other leaves are not looked at.

    Returns:
        The name of the first such tensor or number, with dots between the levels; None if there is none.
    """
    names, flags = [], []

    def look(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                look(f"{name}.{key}", part)
        elif isinstance(value, list | tuple):
            for i, part in enumerate(value):
                look(f"{name}.{i}", part)
        elif isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel() > 0:
            names.append(name)
            # NaN is its own minimum and maximum; isfinite() would make copies of a tensor's size
            flags.append(torch.stack(value.detach().aminmax()).isfinite().all())
        elif isinstance(value, float):
            names.append(name)
            flags.append(torch.tensor(math.isfinite(value)))

    look("", state)
    # one transfer per device, not one per tensor
    for device in {flag.device for flag in flags}:
        if not torch.stack([flag for flag in flags if flag.device == device]).all():
            return next(name for name, flag in zip(names, flags, strict=True) if not flag).lstrip(".")
    return None
