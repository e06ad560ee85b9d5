# SPDX-License-Identifier: BSD-3-Clause
"""Starts that the envs of a group share: same state, same goal, same instruction.

Group-relative algorithms compare episodes from the same start. Any reset term and any command can be shared, ours and
Isaac Lab's, since none is asked how it draws: at a full reset it is called once per place in the groups, for the envs
that have this place, and each time with the random generators in the same state.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from typing import Any

import torch
from isaaclab.utils.string import string_to_callable

from gr00t_rl.preflight import remembered_agent
from gr00t_rl.preflight.groups import group_size_for
from gr00t_rl.utils.errors import ConfigurationError
from gr00t_rl.utils.rng import rng_state, set_rng_state

_MARK = "_shares_starts"


_derived: tuple[weakref.ref, int] | None = None
"""The env cfg that got its ``start_group_size`` from an agent last, and that size."""


def share_starts(env_cfg: Any, group_size: int | None = None) -> None:
    """Make ``group_size`` neighbouring envs start alike whenever all envs are reset together.

    Call it in ``validate_config`` of an env cfg, where overrides and presets have been applied; for a task of Isaac
    Lab's own this line is all. Resets of single envs in the course of a rollout draw as ever, and so do commands that
    change within an episode, and all resets of an evaluation in between (``env.evaluating``). Under Newton the envs are
    put at one place (each is a world of its own there, so they do not meet): positions in the env frame are then equal
    to the last bit, and equal actions give equal episodes. Under PhysX they keep apart, and rounding of world positions
    leaves differences of about 1e-6 m.

    Args:
        env_cfg: A manager-based env cfg; its reset terms, commands, ``start_group_size`` and, under Newton,
            ``scene.env_spacing`` are changed.
        group_size: Envs per group, 1 for none; where None, ``env_cfg.start_group_size`` if there is one, else what the
            agent that is about to use the env asks for.

    Raises:
        ConfigurationError: If the agent and the env do not fit together.
    """
    global _derived
    if group_size is None:  # an evaluation sets 1, whatever the agent; what an earlier call wrote says nothing
        group_size = getattr(env_cfg, "start_group_size", None)
        if _derived is not None and _derived[0]() is env_cfg and _derived[1] == group_size:
            group_size = None
    wanted = 1 if group_size == 1 else group_size_for(env_cfg, remembered_agent())
    size = wanted if group_size is None else group_size
    if wanted > 1 and size != wanted:
        raise ConfigurationError(
            f"env.start_group_size is {size}, but agent.algorithm.group_size is {wanted}; leave the former out"
        )
    if env_cfg.scene.num_envs % size:
        raise ConfigurationError(
            f"env.start_group_size is {size}, which does not divide --num_envs {env_cfg.scene.num_envs}; set a divisor"
        )
    env_cfg.start_group_size = size
    if group_size is None:
        _derived = weakref.ref(env_cfg), size
    if size == 1:
        return
    if "Newton" in type(env_cfg.sim.physics).__name__:
        env_cfg.scene.env_spacing = 0.0
    for term in _terms(env_cfg.events):
        if term.mode == "reset":
            term.func = _shared_term(term.func)
    for command in _terms(env_cfg.commands):
        command.class_type = _shared_command(command.class_type)


def _terms(section: Any) -> list[Any]:
    """Return the terms of a section of an env cfg, which may be a cfg object, a dict or None."""
    terms = section if isinstance(section, dict) else vars(section) if section is not None else {}
    return [term for term in terms.values() if term is not None]


def _shared_term(func: Any) -> Any:
    """Return an event term, function or class, whose draws are shared at full resets."""
    func = string_to_callable(func) if isinstance(func, str) else func
    if hasattr(func, _MARK):
        return func
    if not inspect.isclass(func):
        return _shared_call(func)
    # a sub-class of the same name: managers and cfg dumps see the term they know
    return _renamed(type(func.__name__, (func,), {"__call__": _shared_call(func.__call__, 1)}), func)


def _shared_command(command: Any) -> Any:
    """Return a command term's class whose commands are shared at full resets."""
    command = string_to_callable(command) if isinstance(command, str) else command
    if hasattr(command, _MARK):
        return command

    def _resample(self: Any, env_ids: Any) -> None:
        _in_groups(self._env, env_ids, lambda ids: command._resample(self, ids))

    return _renamed(type(command.__name__, (command,), {"_resample": _resample}), command)


def _renamed(shared: type, original: type) -> type:
    shared.__module__, shared.__qualname__, shared.__doc__ = (
        original.__module__,
        original.__qualname__,
        original.__doc__,
    )
    setattr(shared, _MARK, True)
    return shared


def _shared_call(func: Callable[..., None], env_at: int = 0) -> Callable[..., None]:
    """Wrap a term's function, whose arguments from ``env_at`` on are (env, env_ids, ...)."""

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> None:
        first, (env, env_ids, *rest) = args[:env_at], args[env_at:]
        _in_groups(env, env_ids, lambda ids: func(*first, env, ids, *rest, **kwargs))

    setattr(call, _MARK, True)
    return call


def is_evaluating(env: Any) -> bool:
    """Whether an algorithm evaluates its policy in the env: its episodes are none of the training's then."""
    return getattr(env, "evaluating", False)


def _in_groups(env: Any, env_ids: torch.Tensor | slice, call: Callable[[Any], None]) -> None:
    """Call ``call(env_ids)``; for all envs at once, place by place in the groups with the same random numbers."""
    size = 1 if is_evaluating(env) else env.cfg.start_group_size
    ids = torch.arange(env.num_envs, device=env.device, dtype=torch.int32)
    everyone = len(ids[env_ids]) == len(ids) if isinstance(env_ids, slice) else len(env_ids) == len(ids)
    if size == 1 or not everyone:
        return call(env_ids)
    state = rng_state(env.device)
    for place in range(size):
        set_rng_state(state, env.device)
        call(ids[place::size].contiguous())
