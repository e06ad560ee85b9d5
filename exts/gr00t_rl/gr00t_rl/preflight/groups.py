# SPDX-License-Identifier: BSD-3-Clause
"""Checks of a group-relative run: that groups, envs and the iteration's length fit together."""

from __future__ import annotations

from typing import Any

from ..options import GrpoOptions, check_values
from ..utils.episodes import episode_steps
from ..utils.errors import ConfigurationError


def compares_groups(agent_cfg: Any) -> bool:
    """Return whether the runner cfg's algorithm compares episodes of a group."""
    return getattr(agent_cfg.algorithm, "group_size", None) is not None


def fill_episode_length(env_cfg: Any, agent_cfg: Any) -> None:
    """Let an iteration last one episode where ``num_steps_per_env`` of a group-relative agent is None."""
    if compares_groups(agent_cfg) and agent_cfg.num_steps_per_env is None:
        agent_cfg.num_steps_per_env = episode_steps(env_cfg)


def group_size_for(env_cfg: Any, agent_cfg: Any) -> int:
    """Return how many envs must start alike for this agent, 1 where it compares none; fills in its iteration's length.

    Raises:
        ConfigurationError: If the env cannot be played in such groups.
    """
    if agent_cfg is None or not compares_groups(agent_cfg):
        return 1
    check_values(GrpoOptions, agent_cfg.algorithm, "agent.algorithm")
    fill_episode_length(env_cfg, agent_cfg)
    size, envs, steps = agent_cfg.algorithm.group_size, env_cfg.scene.num_envs, episode_steps(env_cfg)
    if envs % size:
        near = max(size, envs // size * size)
        raise ConfigurationError(
            f"--num_envs is {envs} (per process), which agent.algorithm.group_size={size} does not divide; set "
            f"--num_envs {near} or another group size"
        )
    if agent_cfg.num_steps_per_env < steps:
        raise ConfigurationError(
            f"agent.num_steps_per_env is {agent_cfg.num_steps_per_env}, but an episode may last {steps} env steps and "
            "is judged as a whole; set agent.num_steps_per_env=null"
        )
    if agent_cfg.init_at_random_ep_len:
        raise ConfigurationError(
            "agent.init_at_random_ep_len is True, but the episodes of a group start together; set it to False"
        )
    if agent_cfg.algorithm.reward == "success" and getattr(env_cfg.terminations, "success", None) is None:
        raise ConfigurationError(
            "agent.algorithm.reward is 'success', but the env has no term terminations.success; set it to 'return'"
        )
    return size
