# SPDX-License-Identifier: BSD-3-Clause
"""Checks of a runner cfg: each part against its declared options, then what depends on several parts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from ..gr00t.generations import TINY
from ..options import FLASH, RnnOptions, RunnerOptions, check_values, declared, fixed_noise, options_of, unknown
from ..utils.errors import ConfigurationError
from .files import check_checkpoint, check_modality, check_resume, check_tokenizer, check_trained_as

OBSERVATION_SETS = ("actor", "critic", "rnd_state")
"""Sets of observation groups that our algorithms read."""


def check_agent(cfg: Any, reads_files: bool = True) -> None:
    """Check a runner cfg by itself.

    Args:
        cfg: The runner cfg.
        reads_files: Whether the checkpoint and the tokenizer that it names are looked at, with the modality that reads
            the checkpoint's statistics.

    Raises:
        ConfigurationError: At the first setting that cannot work.
    """
    _check_names(cfg, RunnerOptions, "agent")
    check_values(RunnerOptions, cfg, "agent")
    remembered = check_resume(cfg)
    for part in ("algorithm", "actor", "critic"):
        if getattr(cfg, part, None) is not None:
            check_part(getattr(cfg, part), f"agent.{part}")
    _check_obs_groups(cfg.obs_groups)
    _check_shared_parts(cfg.algorithm, cfg.actor, getattr(cfg, "critic", None))
    if cfg.num_steps_per_env is None:
        raise ConfigurationError("agent.num_steps_per_env is null, which only GRPO takes; set an integer of at least 1")
    actor = cfg.actor
    if hasattr(actor, "n_action_steps") and actor.n_action_steps > cfg.num_steps_per_env:
        raise ConfigurationError(
            f"agent.actor.n_action_steps is {actor.n_action_steps}; set an integer from 1 to "
            f"agent.num_steps_per_env={cfg.num_steps_per_env}"
        )
    entropy_coef, problem = getattr(cfg.algorithm, "entropy_coef", 0.0), fixed_noise(actor)
    if entropy_coef > 0 and problem is not None:
        raise ConfigurationError(f"agent.algorithm.entropy_coef is {entropy_coef}, but {problem}")
    critic = options_of(str(getattr(getattr(cfg, "critic", None), "class_name", None)))
    if hasattr(actor, "n_action_steps") and critic is not None and issubclass(critic, RnnOptions):
        raise ConfigurationError(
            f"agent.critic.class_name is {cfg.critic.class_name!r}, which is recurrent and needs an actor with one "
            "decision per env step; set MLPModel"
        )
    if "Gr00tActor" not in actor.class_name:
        return
    _check_kernels(actor, str(cfg.device))
    if reads_files:
        if actor.checkpoint not in TINY:
            check_checkpoint(actor)
        check_tokenizer(actor)
        check_modality(actor, cfg.obs_groups.get("actor", []))
        if remembered is not None:
            check_trained_as(remembered, actor)


def cut_chunks(cfg: Any) -> list[str]:
    """Return in a line that an iteration of PPO ends within a chunk, which an evaluation would play to its end."""
    steps, chunk = cfg.num_steps_per_env, getattr(cfg.actor, "n_action_steps", 1)
    if not cfg.algorithm.class_name.endswith(":PPO") or not steps or steps % chunk == 0:
        return []
    return [
        f"agent.num_steps_per_env is {steps} and agent.actor.n_action_steps is {chunk}: the last chunk of every "
        f"iteration is cut after {steps % chunk} steps. Set a multiple, such as "
        f"agent.num_steps_per_env={-(-steps // chunk) * chunk}"
    ]


def _check_kernels(actor: Any, device: str) -> None:
    """Check that the attention kernels run where the actor does."""
    if getattr(actor, "attn_implementation", None) == FLASH and not device.startswith("cuda"):
        raise ConfigurationError(
            f"agent.actor.attn_implementation is {FLASH!r}, which needs a GPU, but agent.device={device}; set sdpa, or "
            "--device cuda:0"
        )


def _check_obs_groups(groups: Mapping[str, list[str]]) -> None:
    """Check that the sets are those that an algorithm reads, and that the actor sees something."""
    for name in groups:
        if name not in OBSERVATION_SETS:
            raise unknown(name, groups[name], OBSERVATION_SETS, "agent.obs_groups")
    if not groups.get("actor"):
        raise ConfigurationError("agent.obs_groups.actor is empty; name the observation groups that the policy sees")


def _check_shared_parts(algorithm: Any, actor: Any, critic: Any) -> None:
    """Check what algorithm and critic take of the actor, and the names in a curiosity."""
    if getattr(algorithm, "share_cnn_encoders", False) and options_of(actor.class_name) is not None:
        raise ConfigurationError(
            f"agent.algorithm.share_cnn_encoders is True, but agent.actor.class_name={actor.class_name!r} has no CNN "
            "encoders; set it to False, or the actor to CNNModel"
        )
    if "Gr00tFeatureCritic" in str(getattr(critic, "class_name", "")) and "Gr00tActor" not in actor.class_name:
        raise ConfigurationError(
            f"agent.critic.class_name={critic.class_name!r} reads GR00T's features, but the actor is "
            f"{actor.class_name!r}; set agent.critic.class_name=MLPModel"
        )
    _check_part_settings(algorithm, actor, critic)
    curiosity = getattr(algorithm, "rnd_cfg", None)
    if isinstance(curiosity, Mapping) and "gr00t_rl" in algorithm.class_name:
        from rsl_rl.extensions import RandomNetworkDistillation

        known = inspect.signature(RandomNetworkDistillation).parameters
        for name in curiosity:
            if name not in known:
                raise unknown(name, curiosity[name], known, "agent.algorithm.rnd_cfg")


def _check_part_settings(algorithm: Any, actor: Any, critic: Any) -> None:
    """Check that the parts which have settings of their own are trained."""
    parts: Mapping[str, Any] = getattr(algorithm, "parts", None) or {}
    training: Mapping[str, str] = getattr(actor, "train", None) or {}
    for name, settings in parts.items():
        if not settings:
            continue
        path = f"agent.algorithm.parts.{name} is {settings!r}"
        if name == "critic":
            if getattr(critic, "class_name", None) is None:
                raise ConfigurationError(f"{path}, but this algorithm has no critic; leave it out")
        elif "Gr00tActor" not in actor.class_name:
            raise ConfigurationError(
                f"{path}, but agent.actor.class_name={actor.class_name!r} is one part, with the settings of "
                "agent.algorithm; set those, or agent.algorithm.parts.critic"
            )
        elif name == "noise" and getattr(actor, "head", None) == "flow_sde":
            raise ConfigurationError(
                f"{path}, but the noise of agent.actor.head=flow_sde is not learned; leave it out, or set the head to "
                "flow_noise or gaussian"
            )
        elif name != "noise" and training.get(name, "off") == "off":
            raise ConfigurationError(f"{path}, but agent.actor.train.{name}=off; leave it out, or train the part")


def check_part(cfg: Any, path: str) -> None:
    """Check the cfg of an algorithm, a model or a distribution against the options of the class that it names.

    Args:
        cfg: A cfg object or a mapping with a ``class_name``; other classes than ours and rsl_rl's are not checked.
        path: Where it stands, such as "agent.actor".

    Raises:
        ConfigurationError: At the first setting that cannot work.
    """
    fields = cfg if isinstance(cfg, Mapping) else vars(cfg)
    class_name = fields.get("class_name")
    options = None if class_name is None else options_of(str(class_name))
    if options is None:
        _check_class_name(class_name, path)
        return
    _check_names(cfg, options, path)
    check_values(options, SimpleNamespace(**fields), path)
    distribution = fields.get("distribution_cfg")
    if distribution is not None:
        check_part(distribution, f"{path}.distribution_cfg")


def _check_class_name(class_name: Any, path: str) -> None:
    """Check that there is the class which a cfg names; one without a name, such as GRPO's critic, is never built."""
    if class_name is None:
        return
    from rsl_rl.utils import resolve_callable

    try:
        resolve_callable(class_name)
    except (ValueError, ImportError, AttributeError, TypeError) as error:
        raise ConfigurationError(
            f"{path}.class_name is {class_name!r}, which does not load ({error}); set 'module:Class', or the name of a "
            "class of rsl_rl"
        ) from None


def _check_names(cfg: Any, options: type, path: str) -> None:
    """Check that nobody set a field that a cfg class does not have: Isaac Lab takes a misspelled one without a word."""
    fields: dict[str, Any] | None = getattr(cfg, "__dataclass_fields__", None)
    if fields is None:
        return
    for name, value in vars(cfg).items():
        if name not in fields:
            raise unknown(name, value, declared(options), path)
