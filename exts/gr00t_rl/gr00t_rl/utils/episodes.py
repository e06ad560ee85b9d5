# SPDX-License-Identifier: BSD-3-Clause
"""The length of an episode, before there is an env."""

from __future__ import annotations

import math
from typing import Any


def episode_steps(env_cfg: Any) -> int:
    """Return the env steps after which an episode of this env cfg times out, as Isaac Lab's envs count them."""
    return math.ceil(env_cfg.episode_length_s / (env_cfg.sim.dt * env_cfg.decimation))
