# SPDX-License-Identifier: BSD-3-Clause
"""The modality that a task's GR00T agent declares: what demonstrations of it hold, and what is trained on them."""

from __future__ import annotations

import importlib
from typing import Any

import gymnasium as gym

from ..gr00t import Modality
from ..utils.errors import ConfigurationError

AGENT = "rsl_rl_cfg_entry_point"
"""Name of the agent whose modality counts."""


def check_task(task: str) -> None:
    """Make sure that ``task`` is one of ours. Raises ConfigurationError."""
    import gr00t_rl.tasks  # noqa: F401  # registers them

    known = sorted(name for name in gym.registry if name.startswith("Gr00t-"))
    if task not in known:
        raise ConfigurationError(f"--task {task} is unknown; set one of {', '.join(known)}")


def modality_of(agent_cfg: Any, task: str) -> Modality:
    """The modality of a resolved agent cfg. Raises ConfigurationError where there is none or it is wrong."""
    cfg = getattr(agent_cfg.actor, "modality", None)
    if cfg is None:
        raise ConfigurationError(
            f"--task {task}: its agent declares no agent.actor.modality, so nothing says what state and action are; "
            "declare one in the task's rsl_rl_gr00t_cfg.py, or choose another task"
        )
    try:
        return Modality.from_dict(cfg.to_dict())
    except ValueError as error:
        raise ConfigurationError(f"agent.actor.modality.{error}") from None


def agent_cfg_of(task: str) -> Any:
    """The task's agent cfg as it is declared, without any overrides."""
    check_task(task)
    module, name = gym.spec(task).kwargs[AGENT].split(":")
    return getattr(importlib.import_module(module), name)()
