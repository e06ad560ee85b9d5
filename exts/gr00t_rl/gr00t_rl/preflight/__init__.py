# SPDX-License-Identifier: BSD-3-Clause
"""Checks of a run's settings, before the simulator starts.

Isaac Lab calls ``validate_config`` of an env cfg as the first thing an env does, with all overrides applied and
nothing built yet. Our env cfgs call :func:`check_run` there. The agent's cfg is not handed to the env, so that the
runner cfgs leave a weak reference here when they are made.

What an option may be by itself is declared in :mod:`gr00t_rl.options`; here is what depends on the other cfg, the disk
or the machine.
"""

from __future__ import annotations

import weakref
from typing import Any

from .agent import check_agent, cut_chunks
from .env import check_env, check_observations, checks_itself
from .files import warnings_of
from .groups import fill_episode_length

__all__ = [
    "announce_training",
    "check_agent",
    "check_env",
    "check_foreign",
    "check_observations",
    "check_run",
    "remember_agent",
    "remembered_agent",
    "training_agent",
]

_agent: weakref.ReferenceType | None = None
_trained: weakref.ReferenceType | None = None


def announce_training(agent_cfg: Any) -> None:
    """Remember that the next env is built to train this runner cfg's agent, not to play or to evaluate it."""
    global _trained
    _trained = weakref.ref(agent_cfg)


def training_agent() -> Any | None:
    """Return the runner cfg whose agent the next env is built to train, once; None if there is none."""
    global _trained
    agent_cfg, _trained = (_trained() if _trained is not None else None), None
    return agent_cfg


def remember_agent(agent_cfg: Any) -> None:
    """Keep a weak reference to the runner cfg that the next env is built for."""
    global _agent
    _agent = weakref.ref(agent_cfg)


def remembered_agent() -> Any | None:
    """Return the runner cfg that the next env is built for, or None if there is none."""
    return _agent() if _agent is not None else None


def check_foreign(env_cfg: Any) -> None:
    """Do :func:`check_run` for an env cfg that does not do so in its ``validate_config``, such as Isaac Lab's own.

    Envs of the direct workflow, whose cfg does not say what is observed, are left alone.
    """
    if not checks_itself(env_cfg) and getattr(env_cfg, "observations", None) is not None:
        check_run(env_cfg)


def check_run(env_cfg: Any) -> None:
    """Check the env's settings against those of the agent that is about to use it, if there is one.

    Raises:
        ConfigurationError: At the first setting that cannot work.
    """
    agent_cfg = remembered_agent()
    if agent_cfg is None:
        return
    fill_episode_length(env_cfg, agent_cfg)
    check_agent(agent_cfg)
    check_observations(env_cfg, agent_cfg)
    trains = _trained is not None and _trained() is agent_cfg
    for warning in (*(cut_chunks(agent_cfg) if trains else ()), *warnings_of(env_cfg, agent_cfg.actor)):
        print(f"[gr00t_rl] warning: {warning}", flush=True)
