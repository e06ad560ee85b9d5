# SPDX-License-Identifier: BSD-3-Clause
"""``agent.algorithm.micro_batch_size=auto``: the largest piece of a minibatch that fits."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from tensordict import TensorDict

from .devices import GIB, free_bytes
from .rehearsal import Rehearsal

SMALL = 20_000_000
"""Parameters of a network up to which the whole minibatch is taken unseen."""
MARGIN = 0.9
"""Share of the memory that is free which a choice may fill."""
WHOLE = 2**31
"""Stands for no limit where ranks agree on one."""


def choose(rehearsal: Rehearsal, room: float) -> int | None:
    """Return the decisions of a piece, or None for the whole minibatch; 1 where not even that fits.

    Pieces of a minibatch are about alike: 96 decisions of which 50 fit are cut into two of 48.

    Args:
        rehearsal: Knows what a step needs.
        room: Bytes that a step may need.
    """
    minibatch = rehearsal.minibatch
    # a tenth more decisions than expected, where envs decide when they are reset, must not be too many
    if rehearsal.parameters <= SMALL or 1.1 * rehearsal.step(None).total <= room:
        return None
    low, high = max(1, minibatch // 16), max(2, minibatch // 8)
    if high >= minibatch:
        return 1 if minibatch == 1 else _even(minibatch, max(1, minibatch // 2))
    first, second = rehearsal.step(low), rehearsal.step(high)
    each = max((second.activations - first.activations) / (high - low), 1.0)
    size = _even(minibatch, max(1, min(minibatch - 1, int(low + (room - first.total) / each))))
    while size > 1 and rehearsal.step(size).total > room:
        size = _even(minibatch, size - 1)
    return size


def _even(minibatch: int, most: int) -> int:
    """Return the size of as few pieces as have at most ``most`` decisions, all about alike."""
    return -(-minibatch // -(-minibatch // most))


def micro_batch_of_run(algorithm: Any, obs: TensorDict, env: Any, cfg: dict[str, Any]) -> int | None:
    """Return the decisions of a piece for an algorithm whose models are made, alike on all ranks; says what it chose.

    A rank whose rehearsal fails says so and asks for no limit: what only an estimate cannot do must not end a run.

    Args:
        algorithm: The algorithm.
        obs: Example observations [N].
        env: The env.
        cfg: The runner's configuration as a dict.
    """
    actor = algorithm.actor
    if not hasattr(actor, "feature_cache") or sum(p.numel() for p in actor.parameters()) <= SMALL:
        return None
    option = "[gr00t_rl] agent.algorithm.micro_batch_size=auto"
    try:
        rehearsal = _rehearse(algorithm, obs, env, cfg)
        free = free_bytes(algorithm.device)
        size = choose(rehearsal, _room(rehearsal, algorithm, free))
        needed = rehearsal.step(size).activations
    except Exception as error:
        size = _agree(algorithm, None)  # the other ranks wait for this one's word
        taken = f"{size} decisions at a time" if size else "the whole minibatch"
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"{option}: {taken}; its memory could not be estimated: {reason}", flush=True)
        return size
    agreed = _agree(algorithm, size)
    if agreed != size:
        needed = rehearsal.step(agreed).activations
    print(
        f"{option}: {agreed or rehearsal.minibatch} of {rehearsal.minibatch} decisions at a time, "
        f"{needed / GIB:.1f} GiB of activations; {free / GIB:.1f} GiB are free",
        flush=True,
    )
    return agreed


def _rehearse(algorithm: Any, obs: TensorDict, env: Any, cfg: dict[str, Any]) -> Rehearsal:
    """Return the rehearsal of a run whose models are made."""
    keys = ("algorithm", "actor", "critic", "obs_groups", "num_steps_per_env", "max_iterations")
    shapes = {str(name): (tuple(obs[name].shape[1:]), obs[name].dtype) for name in obs.keys()}  # noqa: SIM118
    return Rehearsal(
        {key: cfg[key] for key in keys if key in cfg},
        shapes,
        env.num_envs,
        env.num_actions,
        env.cfg,
        int(env.max_episode_length),
        device=torch.device(algorithm.device).type,
    )


def _room(rehearsal: Rehearsal, algorithm: Any, free: int) -> float:
    """Return the bytes that a step may need, of those that are free once the models are made."""
    on_host = algorithm.actor.feature_cache == "host" and torch.device(algorithm.device).type != "cpu"
    return MARGIN * free - rehearsal.optimizer - rehearsal.storage - (0 if on_host else rehearsal.features)


def _agree(algorithm: Any, size: int | None) -> int | None:
    """Return the smallest size that any rank asks for; all of them must ask."""
    if algorithm.gpu_world_size == 1:
        return size
    agreed = torch.tensor(size or WHOLE, device=algorithm.device)
    dist.all_reduce(agreed, dist.ReduceOp.MIN)
    return None if int(agreed) == WHOLE else int(agreed)
