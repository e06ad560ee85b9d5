# SPDX-License-Identifier: BSD-3-Clause
"""The modality that a task's GR00T agent declares: what demonstrations of it hold, and what is trained on them."""

from __future__ import annotations

import importlib
from typing import Any

import gymnasium as gym

from ..gr00t import Modality
from ..tasks.known_tasks import unknown_task
from ..tasks.registration import AGENT
from ..utils.errors import ConfigurationError


def check_task(task: str) -> None:
    """Make sure that there is such a task, and that it has an agent. Raises ConfigurationError."""
    problem = unknown_task(task)
    if problem is not None:
        raise ConfigurationError(f"--task: {problem}")
    if AGENT not in gym.spec(task).kwargs:
        raise ConfigurationError(
            f"--task {task} has no agent; name its runner cfg in gym.register: "
            f'kwargs={{..., "{AGENT}": "my_robot.agent_cfg:MyRunnerCfg"}}'
        )


def modality_of(agent_cfg: Any, task: str) -> Modality:
    """The modality of a resolved agent cfg. Raises ConfigurationError where there is none or it is wrong."""
    cfg = getattr(agent_cfg.actor, "modality", None)
    if cfg is None:
        raise ConfigurationError(
            f"--task {task}: its agent declares no agent.actor.modality, so nothing says what state and action are; "
            "declare one in the runner cfg that the task registers, or choose another task"
        )
    try:
        return Modality.from_dict(cfg.to_dict())
    except ValueError as error:
        raise ConfigurationError(f"agent.actor.modality.{error}") from None


def agent_cfg_of(task: str) -> Any:
    """The task's agent cfg as it is declared, without any overrides."""
    check_task(task)
    named = gym.spec(task).kwargs[AGENT]
    if isinstance(named, type):  # Isaac Lab takes the class itself as well,
        return named()
    if not isinstance(named, str):  # and presets
        return getattr(named, "default", named)
    module, name = named.split(":")
    return getattr(importlib.import_module(module), name)()
