# SPDX-License-Identifier: BSD-3-Clause
"""Checks of a run's settings, before the simulator starts.

Isaac Lab calls ``validate_config`` of an env cfg as the first thing an env does, with all overrides applied and
nothing built yet. Our env cfgs call :func:`check_run` there. The agent's cfg is not handed to the env, so that the
runner cfgs leave a weak reference here when they are made.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import numbers
import weakref
from pathlib import Path
from typing import Any

import torch

from .preflight_groups import fill_episode_length
from .utils.errors import ConfigurationError

HEADS = ("flow_sde", "gaussian", "flow_noise")
LOG_PROB_OVER = ("executed", "chain")
STOCHASTIC_STEPS = ("one", "all")
DTYPES = ("float32", "bfloat16")
ATTENTION = ("sdpa", "eager", "flash_attention_2")
FEATURE_CACHES = ("device", "host", "pixels")
ENV_SECTIONS = ("scene", "observations", "actions", "events", "rewards", "terminations", "curriculum", "commands")
SCHEDULES = ("fixed", "linear", "cosine", "adaptive")

_agent: weakref.ReferenceType | None = None


def remember_agent(agent_cfg: Any) -> None:
    """Keep a weak reference to the runner cfg that the next env is built for."""
    global _agent
    _agent = weakref.ref(agent_cfg)


def remembered_agent() -> Any | None:
    """Return the runner cfg that the next env is built for, or None if there is none."""
    return _agent() if _agent is not None else None


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


def check_env(env_cfg: Any) -> None:
    """Check the settings of a tabletop env by themselves, with all presets chosen.

    Raises:
        ConfigurationError: At the first setting that cannot work.
    """
    for section in ENV_SECTIONS:
        value = getattr(env_cfg, section)
        if isinstance(value, str):  # a preset's name that found no presets to choose from
            raise ConfigurationError(
                f"env.{section} is {value!r}, but this task has one {section} cfg only; leave it out"
            )
    _check_known_settings(env_cfg, "env")
    _check("env.camera_size", env_cfg.camera_size, _is_count, "an integer of at least 1")
    _check_instructions(env_cfg)
    for name, term in vars(env_cfg.rewards).items():
        if term is not None:
            _check(f"env.rewards.{name}.weight", term.weight, lambda v: isinstance(v, numbers.Real), "a number")
    difficulty = getattr(env_cfg.curriculum, "difficulty", None)
    if difficulty is not None:
        _check_curriculum(difficulty.params)


def _check_known_settings(cfg: Any, path: str) -> None:
    """Check that nobody set a field that the cfg does not have: Isaac Lab takes a misspelled one without a word."""
    fields = getattr(cfg, "__dataclass_fields__", None)
    if fields is None:
        return
    for name, value in vars(cfg).items():
        if name not in fields:
            close = difflib.get_close_matches(name, fields, n=1)
            hint = f"did you mean {path}.{close[0]}?" if close else f"set one of {', '.join(fields)}"
            raise ConfigurationError(f"{path}.{name} is {value!r}, but there is no such setting; {hint}")
        _check_known_settings(value, f"{path}.{name}")


def _check_instructions(env_cfg: Any) -> None:
    """Check that there are instructions to draw from where they are to be drawn."""
    texts = env_cfg.instructions
    if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ConfigurationError(f"env.instructions is {texts!r}; set a list of texts, such as ['reach the ball']")
    if env_cfg.sample_instructions and not texts:
        raise ConfigurationError("env.sample_instructions is True, but env.instructions is []; set some to draw from")


def _check_curriculum(params: dict[str, Any]) -> None:
    """Check the numbers of a curriculum that follows the success rate."""
    path = "env.curriculum.difficulty.params"
    for name in ("threshold", "step"):
        _check(f"{path}.{name}", params[name], lambda v: 0 < v <= 1, "a number in (0, 1]")
    _check(f"{path}.start", params["start"], lambda v: 0 <= v <= 1, "a number in [0, 1]")
    _check(f"{path}.episodes", params["episodes"], _is_count, "an integer of at least 1")


def check_agent(cfg: Any) -> None:
    """Check a runner cfg by itself: numbers, names, device, logger and the checkpoint's folder."""
    if str(cfg.device).startswith("cuda") and not torch.cuda.is_available():
        raise ConfigurationError(f"agent.device={cfg.device!r}, but this machine has no CUDA GPU; set agent.device=cpu")
    if cfg.logger == "wandb" and importlib.util.find_spec("wandb") is None:
        raise ConfigurationError("--logger wandb, but wandb is not installed; pip install 'gr00t_rl[wandb]'")
    _check_resume(cfg)
    check_algorithm(cfg.algorithm)
    _check("agent.num_steps_per_env", cfg.num_steps_per_env, _is_count, "an integer of at least 1")
    if any(name in cfg.actor.class_name for name in ("Gr00tActor", "FlowMlpActor")):
        check_flow_actor(cfg.actor, cfg.num_steps_per_env)
    if "FlowMlpActor" in cfg.actor.class_name:
        _check_horizon(cfg.actor.n_action_steps, cfg.actor.action_horizon, "agent.actor.action_horizon")
    if "Gr00tActor" in cfg.actor.class_name:
        check_gr00t_actor(cfg.actor)
        check_modality(cfg.actor, cfg.obs_groups.get("actor", []))


def _check_resume(cfg: Any) -> None:
    """Check that a run is resumed by what Isaac Lab heeds, from a checkpoint file that is whole and one of ours."""
    if getattr(cfg, "resume", False):
        raise ConfigurationError(
            "agent.resume=True, which Isaac Lab's train ignores: the run would start anew; "
            "remove it and resume with --checkpoint FILE, latest or best"
        )
    checkpoint = getattr(cfg, "load_checkpoint", None)
    if checkpoint and "gr00t_rl" in cfg.algorithm.class_name and Path(checkpoint).is_file():
        from .utils.runner_files import check_readable  # loads rsl_rl's runner

        check_readable(checkpoint)


def check_algorithm(algorithm: Any) -> None:
    """Check the numbers and names of an algorithm cfg, ours or rsl_rl's."""
    for name in ("num_learning_epochs", "num_mini_batches"):
        _check(f"agent.algorithm.{name}", getattr(algorithm, name, 1), _is_count, "an integer of at least 1")
    for name in ("gamma", "lam"):
        _check(f"agent.algorithm.{name}", getattr(algorithm, name, 1.0), lambda v: 0 <= v <= 1, "a number in [0, 1]")
    if "gr00t_rl" in algorithm.class_name:
        _check_name("agent.algorithm.schedule", algorithm.schedule, SCHEDULES)


def check_gr00t_actor(actor: Any) -> None:
    """Check the settings that only GR00T has, and what can be read of its checkpoint without loading it."""
    _check_name("agent.actor.dtype", actor.dtype, DTYPES)
    _check_name("agent.actor.attn_implementation", actor.attn_implementation, ATTENTION)
    _check_name("agent.actor.feature_cache", actor.feature_cache, FEATURE_CACHES)
    if actor.checkpoint != "tiny":
        _check_checkpoint(actor)


def check_modality(actor: Any, groups: list[str]) -> None:
    """Check the actor's modality against its observation groups and the checkpoint's statistics.

    Widths are compared when the actor is built: the env's groups and action are known then.
    """
    modality = getattr(actor, "modality", None)
    if modality is None:
        return
    from .gr00t import METADATA_FILE, Modality, read_statistics  # loads transformers, which only this needs

    folder, file = Path(actor.checkpoint).expanduser(), None
    try:
        keys = Modality.from_dict(modality.to_dict() if hasattr(modality, "to_dict") else modality)
        keys.check_groups(groups)
        if actor.checkpoint == "tiny" or folder.is_dir():  # a hub id is fetched when the model is built
            file = folder / METADATA_FILE
            read_statistics(file.read_bytes() if file.is_file() else None, keys)
    except ValueError as error:
        raise ConfigurationError(f"agent.actor.modality.{error}") from None
    except OSError as error:
        raise ConfigurationError(f"agent.actor.checkpoint: {file} cannot be read ({error}); copy it again") from None


def _check_horizon(n_action_steps: int, horizon: int, name: str) -> None:
    """Check that no more actions are executed than a chunk has."""
    _check("agent.actor.n_action_steps", n_action_steps, lambda v: v <= horizon, f"at most {name}={horizon}")


def check_flow_actor(actor: Any, num_steps_per_env: int) -> None:
    """Check what the flow policies have in common: their chunks and their heads."""
    _check_name("agent.actor.head", actor.head, HEADS)
    _check_name("agent.actor.stochastic_steps", actor.stochastic_steps, STOCHASTIC_STEPS)
    _check_name("agent.actor.log_prob_over", actor.log_prob_over, LOG_PROB_OVER)
    steps = actor.n_action_steps
    _check(
        "agent.actor.n_action_steps",
        steps,
        lambda v: _is_count(v) and v <= num_steps_per_env,
        f"an integer from 1 to agent.num_steps_per_env={num_steps_per_env}",
    )
    _check("agent.actor.num_inference_timesteps", actor.num_inference_timesteps, _is_count, "an integer of at least 1")
    _check("agent.actor.init_noise_scale", actor.init_noise_scale, lambda v: v >= 0, "0 or more")
    if actor.head == "flow_sde":
        _check(
            "agent.actor.noise_level",
            actor.noise_level,
            lambda v: v > 0,
            "more than 0: without noise the policy has no likelihood",
        )
    if actor.head == "gaussian":
        _check("agent.actor.init_std", actor.init_std, lambda v: v > 0, "more than 0")
    if actor.head == "flow_noise":
        _check("agent.actor.sigma_min", actor.sigma_min, lambda v: v > 0, "more than 0")
        _check(
            "agent.actor.sigma_max",
            actor.sigma_max,
            lambda v: v >= actor.sigma_min,
            f"at least agent.actor.sigma_min={actor.sigma_min}",
        )


def _check_checkpoint(actor: Any) -> None:
    """Check that the checkpoint's folder exists and that its sizes fit the settings."""
    folder = Path(actor.checkpoint).expanduser()
    if not folder.is_dir():
        parts = actor.checkpoint.split("/")
        if len(parts) == 2 and all(parts) and not actor.checkpoint.startswith((".", "~")):
            return  # a hub id; it is fetched when the model is built
        raise ConfigurationError(
            f"agent.actor.checkpoint={actor.checkpoint!r} is no folder and no hub id 'org/name'; set a GR00T N1.5 "
            "checkpoint, or 'tiny' for a small random network"
        )
    try:
        head = json.loads((folder / "config.json").read_text())["action_head_cfg"]
        horizon, embodiments = head["action_horizon"], head["max_num_embodiments"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"agent.actor.checkpoint={actor.checkpoint!r} has no readable config.json of GR00T N1.5 ({error}); set the "
            "folder that holds config.json and the *.safetensors files"
        ) from None
    _check(
        "agent.actor.n_action_steps",
        actor.n_action_steps,
        lambda v: v <= horizon,
        f"at most the checkpoint's action horizon {horizon}",
    )
    _check(
        "agent.actor.embodiment_id",
        actor.embodiment_id,
        lambda v: 0 <= v < embodiments,
        f"from 0 to {embodiments - 1}, the embodiments of the checkpoint",
    )


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
        _check_sampled_instructions(agent_cfg.actor)
    if not env_cfg.compute_final_obs and "gr00t_rl" in agent_cfg.algorithm.class_name:
        raise ConfigurationError(
            "env.compute_final_obs is False, but time-outs are bootstrapped from the final observation; set it to True"
        )


def _check_sampled_instructions(actor: Any) -> None:
    """Check that the actor hears the instructions that the env draws."""
    if "Gr00tActor" not in actor.class_name:
        raise ConfigurationError(
            f"env.sample_instructions is True, but the actor {actor.class_name} knows no language; set it to False, or "
            "choose an --agent with a GR00T actor"
        )
    if getattr(actor, "instruction", None) is not None:
        raise ConfigurationError(
            f"env.sample_instructions is True, but agent.actor.instruction={actor.instruction!r} is given in every "
            "episode; set one of the two only"
        )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and value >= 1


def _check(name: str, value: Any, holds: Any, expected: str) -> None:
    try:
        fine = holds(value)
    except TypeError:
        fine = False
    if not fine:
        raise ConfigurationError(f"{name} is {value!r}; set {expected}")


def _check_name(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigurationError(f"{name} is {value!r}; set one of {', '.join(known)}")
