# SPDX-License-Identifier: BSD-3-Clause
"""Features of one iteration in host memory, for GPUs that cannot hold them."""

from __future__ import annotations

import torch


class HostFeatureCache:
    """Keeps feature rows in host memory (pinned where the device is a GPU) and hands them back by row number.

    Full-size features take 1.15 MB per camera and decision in bf16: 4,096 envs that decide six times per iteration
    fill 28 GB.
    """

    def __init__(self) -> None:
        self._parts: list[torch.Tensor] = []
        self._rows = 0

    def append(self, features: torch.Tensor) -> torch.Tensor:
        """Store features [B, T, D] and return their row numbers, int64 [B] on the features' device.

        The copy from a GPU is asynchronous; :meth:`gather` waits for it.
        """
        host = torch.empty(features.shape, dtype=features.dtype, pin_memory=features.is_cuda)
        host.copy_(features, non_blocking=True)
        self._parts.append(host)
        self._rows += len(features)
        return torch.arange(self._rows - len(features), self._rows, device=features.device)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the rows [B] as features [B, T, D] on the device of ``rows``."""
        if len(self._parts) > 1:
            if rows.is_cuda:
                torch.cuda.synchronize(rows.device)
            self._parts = [torch.cat(self._parts)]
        return self._parts[0][rows.cpu()].to(rows.device)

    def clear(self) -> None:
        """Forget all rows."""
        self._parts, self._rows = [], 0
