# SPDX-License-Identifier: BSD-3-Clause
"""RL algorithms for rsl_rl's runner."""

from .base import DecisionAlgorithm
from .grpo import GRPO
from .ppo import PPO

__all__ = ["GRPO", "PPO", "DecisionAlgorithm"]
