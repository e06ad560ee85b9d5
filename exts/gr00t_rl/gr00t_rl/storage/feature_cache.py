# SPDX-License-Identifier: BSD-3-Clause
"""Features of one iteration in host memory, for GPUs that cannot hold them."""

from __future__ import annotations

import torch

from .rows import RowBuffer


class HostFeatureCache:
    """Keeps feature rows in host memory (pinned where the device is a GPU) and hands them back by row number.

    Full-size features take 1.15 MB per camera and decision in bf16: 4,096 envs that decide six times per iteration
    fill 28 GB. They are there once, see :class:`RowBuffer`.
    """

    def __init__(self) -> None:
        self.expected_rows = 0
        """Rows of an iteration, as far as they are known beforehand."""
        self._buffer: RowBuffer | None = None

    def append(self, features: torch.Tensor) -> torch.Tensor:
        """Store features [B, T, D] and return their row numbers, int64 [B] on the features' device.

        The copy from a GPU is asynchronous; :meth:`gather` waits for it.
        """
        if self._buffer is None:
            self._buffer = RowBuffer(self.expected_rows, "cpu", pin=features.is_cuda)
        first = len(self._buffer)
        self._buffer.append({"features": features})
        return torch.arange(first, len(self._buffer), device=features.device)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the rows [B] as features [B, T, D] on the device of ``rows``."""
        assert self._buffer is not None, "nothing was stored"
        if rows.is_cuda:
            torch.cuda.synchronize(rows.device)
        return self._buffer.read()["features"][rows.cpu()].to(rows.device)

    def clear(self) -> None:
        """Forget all rows; the memory is kept for the next ones."""
        if self._buffer is not None:
            self._buffer.clear()
