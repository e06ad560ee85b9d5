# SPDX-License-Identifier: BSD-3-Clause
"""Seconds that parts of a loop take, without making the GPU wait."""

from __future__ import annotations

import time

import torch


class LapTimer:
    """Adds up the seconds of named parts: ``start``, then ``lap`` at the end of each.

    On a GPU, kernels run long after they were launched: events in the stream mark the parts there, and are read in
    :meth:`totals`, so that nothing waits in between.

    Args:
        device: Device on which the parts run.
    """

    def __init__(self, device: str | torch.device) -> None:
        self._cuda = torch.device(device).type == "cuda"
        self._last: float | torch.cuda.Event = 0.0
        self._laps: list[tuple[str, float | torch.cuda.Event, float | torch.cuda.Event]] = []

    def start(self) -> None:
        """Begin the first part."""
        self._last = self._now()

    def lap(self, name: str) -> None:
        """End the part ``name``; the next one begins."""
        now = self._now()
        self._laps.append((name, self._last, now))
        self._last = now

    def totals(self) -> dict[str, float]:
        """Return the seconds of each part since the last call, and begin anew."""
        sums: dict[str, float] = {}
        for name, begin, end in self._laps:
            if isinstance(begin, torch.cuda.Event) and isinstance(end, torch.cuda.Event):
                end.synchronize()
                seconds = begin.elapsed_time(end) / 1e3
            else:
                seconds = float(end) - float(begin)  # type: ignore[arg-type]
            sums[name] = sums.get(name, 0.0) + seconds
        self._laps.clear()
        return sums

    def _now(self) -> float | torch.cuda.Event:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
