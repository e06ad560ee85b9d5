# SPDX-License-Identifier: BSD-3-Clause
"""Memory for rows that arrive a few at a time and are read all together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

ROW_GROWTH = 1.25
"""By how much more rows there is room for, where more came than were expected."""


ROWS_AT_ONCE = 1024
"""Rows that are moved together where some are left out."""


class RowBuffer:
    """Named tensors with one row per decision, in one piece of memory each that lasts from iteration to iteration.

    Rows are written where they stay. Only where more come than were expected is a tensor copied into a larger one, one
    tensor after the other, and the larger ones stay. The first rows decide shapes and types.

    Args:
        expected: Rows to make room for at first.
        device: Device of the memory.
        pin: Whether to pin it, for copies from a GPU that nobody waits for.
    """

    def __init__(self, expected: int, device: str | torch.device = "cpu", pin: bool = False) -> None:
        self.expected, self.device, self.pin = expected, device, pin
        self._tensors: dict[Any, torch.Tensor] = {}
        self._size = self._capacity = 0

    def __len__(self) -> int:
        return self._size

    def append(self, rows: Mapping[Any, torch.Tensor]) -> None:
        """Write the next rows: one tensor [B, ...] by the name of each, always the same names."""
        number = len(next(iter(rows.values())))
        if self._size + number > self._capacity:
            self._reserve(max(self._size + number, self.expected, int(ROW_GROWTH * self._capacity)), rows)
        if rows.keys() != self._tensors.keys():
            raise KeyError(f"rows have {sorted(map(str, rows))}, those before {sorted(map(str, self._tensors))}")
        end = self._size + number
        for name, tensor in self._tensors.items():
            tensor[self._size : end].copy_(rows[name], non_blocking=self.pin)
        self._size = end

    def read(self) -> dict[Any, torch.Tensor]:
        """Return all rows, as views [R, ...] that hold until :meth:`clear`."""
        return {name: tensor[: self._size] for name, tensor in self._tensors.items()}

    def keep(self, rows: torch.Tensor) -> None:
        """Forget all rows but those numbered ``rows``, int64 [R], in ascending order."""
        for tensor in self._tensors.values():
            done = 0
            for part in rows.split(ROWS_AT_ONCE):  # rows only move forward: what is overwritten has been read
                tensor[done : done + len(part)] = tensor[part]
                done += len(part)
        self._size = len(rows)

    def clear(self) -> None:
        """Forget all rows; the memory is kept."""
        self._size = 0

    def _reserve(self, capacity: int, like: Mapping[Any, torch.Tensor]) -> None:
        """Make room for ``capacity`` rows, one tensor after the other."""
        if self.pin and self._size > 0:
            torch.cuda.synchronize(next(iter(like.values())).device)  # copies may be under way
        # tensors made in inference mode could not be written outside of it
        with torch.inference_mode(False), torch.no_grad():
            for name, rows in like.items():
                old = self._tensors.get(name)
                shape = (capacity, *rows.shape[1:])
                new = torch.empty(shape, dtype=rows.dtype, device=self.device, pin_memory=self.pin)
                if old is not None:
                    new[: self._size] = old[: self._size]
                self._tensors[name] = new
        self._capacity = capacity
