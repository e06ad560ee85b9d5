# SPDX-License-Identifier: BSD-3-Clause
"""Checks of an env cfg: by itself, and against the agent that reads its observations."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

from ..options import (
    CurriculumOptions,
    EnvOptions,
    RewardOptions,
    SceneOptions,
    SimulationOptions,
    check_values,
    unknown,
)
from ..utils.errors import ConfigurationError
from ..utils.instructions import task_names

SECTIONS = ("scene", "observations", "actions", "events", "rewards", "terminations", "curriculum", "commands")


def check_env(env_cfg: Any) -> None:
    """Check the settings of a task's env by themselves, with all presets chosen.

    Raises:
        ConfigurationError: At the first setting that cannot work.
    """
    for section in SECTIONS:
        value = getattr(env_cfg, section)
        if isinstance(value, str):  # a preset's name that found no presets to choose from
            raise ConfigurationError(
                f"env.{section} is {value!r}, but this task has one {section} cfg only; leave it out"
            )
    check_names(env_cfg, "env")
    check_values(type(env_cfg), env_cfg, "env")  # of TaskOptions, and what a family of tasks adds
    check_values(EnvOptions, env_cfg, "env")
    check_values(SceneOptions, env_cfg.scene, "env.scene")
    check_values(SimulationOptions, env_cfg.sim, "env.sim")
    _check_instructions(env_cfg)
    for name, term in vars(env_cfg.rewards).items():
        if term is not None:
            check_values(RewardOptions, term, f"env.rewards.{name}")
    difficulty = getattr(env_cfg.curriculum, "difficulty", None)
    if difficulty is not None:
        check_values(CurriculumOptions, SimpleNamespace(**difficulty.params), "env.curriculum.difficulty.params")


def check_names(cfg: Any, path: str) -> None:
    """Check that nobody set a field that a cfg does not have: Isaac Lab takes a misspelled one without a word.

    Raises:
        ConfigurationError: At the first such field.
    """
    fields = getattr(cfg, "__dataclass_fields__", None)
    if fields is None:
        return
    for name, value in vars(cfg).items():
        if name not in fields:
            raise unknown(name, value, fields, path)
        check_names(value, f"{path}.{name}")


def _check_instructions(env_cfg: Any) -> None:
    """Check that there are instructions to draw from where they are to be drawn."""
    texts, names = env_cfg.instructions, task_names(env_cfg)
    if names and not env_cfg.sample_instructions:
        raise ConfigurationError(
            "env.sample_instructions is False, but only its instruction says what an episode of this task is about; "
            "leave it out"
        )
    if names and len(texts) != len(names):
        raise ConfigurationError(
            f"env.instructions has {len(texts)} texts; set {len(names)}, one each for {', '.join(names)}"
        )
    if env_cfg.sample_instructions and not texts:
        raise ConfigurationError("env.sample_instructions is True, but env.instructions is []; set some to draw from")


def checks_itself(env_cfg: Any) -> bool:
    """Return whether an env cfg is one of ours, which checks itself when its env is made."""
    ours = getattr(sys.modules.get("gr00t_rl.tasks.env_cfg"), "Gr00tEnvCfg", None)  # loaded by whoever derives from it
    return ours is not None and isinstance(env_cfg, ours)


def check_observations(env_cfg: Any, agent_cfg: Any) -> None:
    """Check that the env has the observation groups that the agent reads."""
    available = [name for name, group in vars(env_cfg.observations).items() if group is not None]
    for set_name, groups in agent_cfg.obs_groups.items():
        for group in groups:
            if group not in available:
                hint = "; a picture needs the -Camera variant of the task" if group not in ("policy", "critic") else ""
                there = [name for name in groups if name in available]
                raise ConfigurationError(
                    f"agent.obs_groups.{set_name} names the observation group {group!r}, but the env has {available}"
                    f'{hint}; set "agent.obs_groups.{set_name}={there or available}" or choose another task'
                )
    if "instruction" in available:
        _check_sampled_instructions(env_cfg, agent_cfg.actor)
    # an env of another make trains without them, with a warning of the algorithm
    if checks_itself(env_cfg) and not env_cfg.compute_final_obs and "gr00t_rl" in agent_cfg.algorithm.class_name:
        raise ConfigurationError(
            "env.compute_final_obs is False, but time-outs are bootstrapped from the final observation; set it to True"
        )


def _check_sampled_instructions(env_cfg: Any, actor: Any) -> None:
    """Check that the actor hears the instructions that the env draws; as numbers, where they are tasks."""
    if "Gr00tActor" not in actor.class_name:
        if task_names(env_cfg):
            return
        raise ConfigurationError(
            f"env.sample_instructions is True, but the actor {actor.class_name} knows no language; set it to False, or "
            "choose an --agent with a GR00T actor"
        )
    if getattr(actor, "instruction", None) is not None:
        raise ConfigurationError(
            f"env.sample_instructions is True, but agent.actor.instruction={actor.instruction!r} is given in every "
            "episode; set one of the two only"
        )
