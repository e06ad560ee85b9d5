# SPDX-License-Identifier: BSD-3-Clause
"""Scripted experts: policies written by hand, which ``gr00t-rl collect`` records.

A task names its expert as ``expert_entry_point`` among the kwargs of its ``gym.register``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from gr00t_rl.utils.errors import ConfigurationError

if TYPE_CHECKING:
    import torch
    from isaaclab.envs import ManagerBasedRLEnv

ENTRY_POINT = "expert_entry_point"
"""Name in a task's kwargs of its expert, "module:Class"."""


class ScriptedExpert:
    """A policy that may look at everything. Called once per env step, and told which episodes ended::

        action = expert()
        _, _, terminated, truncated, _ = env.step(action)
        expert.reset(terminated | truncated)

    Args:
        env: The unwrapped env.
    """

    noisy_actions: int | None = None
    """How many of the action's numbers, from the first on, ``--noise`` may disturb; None: all of them."""

    def __init__(self, env: ManagerBasedRLEnv):
        self.env = env

    def __call__(self) -> torch.Tensor:
        """Actions [N, A] for the present state, in the env's units."""
        raise NotImplementedError

    def reset(self, done: torch.Tensor) -> None:
        """Start over where an episode ended; ``done`` is bool [N]."""


def make_expert(task: str, env: ManagerBasedRLEnv, **settings: Any) -> Any:
    """The expert of a task.

    Args:
        task: Gym ID.
        env: The unwrapped env.
        **settings: For the expert's constructor.

    Raises:
        ConfigurationError: If the task has no expert, or it does not load.
    """
    return find_expert(task)(env, **settings)


def find_expert(task: str) -> Any:
    """The class of a task's expert.

    Raises:
        ConfigurationError: If the task has no expert, or it does not load.
    """
    name = gym.spec(task.split(":")[-1]).kwargs.get(ENTRY_POINT)
    if name is None:
        raise ConfigurationError(
            f"--task {task} has no scripted expert; write a ScriptedExpert (gr00t_rl.tasks.experts) and name it in "
            f'gym.register: kwargs={{..., "{ENTRY_POINT}": "my_robot.expert:MyExpert"}}'
        )
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"--task {task}: its {ENTRY_POINT} {name!r} does not load ({error}); set 'module:Class' in gym.register"
        ) from None
