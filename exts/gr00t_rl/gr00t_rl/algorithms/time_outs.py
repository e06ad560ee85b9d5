# SPDX-License-Identifier: BSD-3-Clause
"""Time-outs of envs that do not report the observation in which an episode ended.

The future that a time-out cuts off is worth V(final observation). Without that observation the value of the episode's
last decision, V(s_d), takes its place, gamma^k V(s_d) after k env steps. For decisions of one step this is rsl_rl's own
approximation, r + gamma V(s_t). The observation after the reset belongs to another episode and is never used.
"""

from __future__ import annotations

import logging
from functools import cache

logger = logging.getLogger(__name__)


@cache
def warn_of_missing_final_obs() -> None:
    """Say once per process what the approximation costs and what to set."""
    logger.warning(
        "[gr00t_rl] an episode timed out, but the env reports no extras['final_obs']: as in rsl_rl, the value at the "
        "episode's last decision stands in for that of its end, so that returns before a time-out are biased by how "
        "much the value changes during that decision; set env.compute_final_obs=True"
    )
