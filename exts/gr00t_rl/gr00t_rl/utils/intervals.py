# SPDX-License-Identifier: BSD-3-Clause
"""How sure a share of successes is."""

from __future__ import annotations

import math

Z = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


def wilson_interval(successes: int, episodes: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a success probability; (0, 1) of no episode."""
    if episodes == 0:
        return 0.0, 1.0
    p, n = successes / episodes, episodes
    centre, scale = p + Z**2 / (2 * n), 1.0 + Z**2 / n
    half = Z * math.sqrt(p * (1.0 - p) / n + Z**2 / (4 * n**2))
    # the ends are 0 and 1 where nothing or everything succeeded; rounding would leave 1e-17
    return (
        0.0 if successes == 0 else (centre - half) / scale,
        1.0 if successes == episodes else (centre + half) / scale,
    )
