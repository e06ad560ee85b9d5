# SPDX-License-Identifier: BSD-3-Clause
"""Seconds per part, added up over laps and given out once."""

from __future__ import annotations

import time

import pytest
import torch

from gr00t_rl.utils.timers import LapTimer


def test_parts_are_added_up_and_given_once(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 10.0, 14.0, 15.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    timer = LapTimer("cpu")
    for _ in range(2):
        timer.start()
        timer.lap("encode")
        timer.lap("denoise")
    assert timer.totals() == {"encode": 1.0 + 4.0, "denoise": 2.0 + 1.0}
    assert timer.totals() == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_kernels_are_timed_not_their_launches():
    """A long kernel counts for the part that launched it."""
    timer, x = LapTimer("cuda"), torch.randn(4096, 4096, device="cuda")
    y = x @ x  # loads the kernel
    timer.start()
    for _ in range(50):
        y = x @ x
    timer.lap("long")
    y = y + 1
    timer.lap("short")
    seconds = timer.totals()
    assert seconds["long"] > 5 * seconds["short"] > 0
