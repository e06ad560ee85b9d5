# SPDX-License-Identifier: BSD-3-Clause
"""RL algorithms for rsl_rl's runner."""

from .ppo import PPO

__all__ = ["PPO"]
