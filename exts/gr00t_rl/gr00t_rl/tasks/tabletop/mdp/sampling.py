# SPDX-License-Identifier: BSD-3-Clause
"""Random starts, drawn per env that is reset, as :mod:`gr00t_rl.tasks.grouping` relies on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedEnv

_CANDIDATES = 32


def env_index(env: ManagerBasedEnv, env_ids: torch.Tensor | slice) -> torch.Tensor:
    """Env indices [n] as int32: a full reset passes a slice."""
    if isinstance(env_ids, slice):
        return torch.arange(env.num_envs, device=env.device, dtype=torch.int32)
    return env_ids.to(torch.int32)


def start_rand(env: ManagerBasedEnv, env_ids: torch.Tensor, *shape: int) -> torch.Tensor:
    """Uniform numbers [n, *shape] in [0, 1)."""
    return torch.rand(len(env_ids), *shape, device=env.device)


def start_uniform(
    env: ManagerBasedEnv,
    env_ids: torch.Tensor,
    lower: tuple[float, ...],
    upper: tuple[float, ...],
    count: tuple[int, ...] = (),
) -> torch.Tensor:
    """Points [n, *count, len(lower)] drawn from a box."""
    low, high = (torch.tensor(corner, device=env.device) for corner in (lower, upper))
    return low + (high - low) * start_rand(env, env_ids, *count, len(lower))


def start_apart(
    env: ManagerBasedEnv,
    env_ids: torch.Tensor,
    lower: tuple[float, ...],
    upper: tuple[float, ...],
    other: torch.Tensor,
    distance: Sequence[float | torch.Tensor],
    way: tuple[torch.Tensor, torch.Tensor] | None = None,
    clearance: float = 0.0,
) -> torch.Tensor:
    """Points [n, len(lower)] drawn from a box, each at some distance from another point, and off a straight way.

    Of several candidates the first at a fitting distance is taken: rejection sampling without a data-dependent loop.
    In a box of sensible size all of them practically never miss; if they do, the nearest miss is used.

    Args:
        other: The points to stay away from [n, len(lower)].
        distance: Smallest and largest distance from them [m].
        way: Both ends of a way to stay off, each [n, len(lower)]; None for none.
        clearance: Smallest distance from it [m].
    """
    candidates = start_uniform(env, env_ids, lower, upper, count=(_CANDIDATES,))
    gap = (candidates - other[:, None]).norm(dim=-1)
    miss = (distance[0] - gap).clamp_min(0.0) + (gap - distance[1]).clamp_min(0.0)
    if way is not None:
        miss += (clearance - distance_to_way(candidates, *way)).clamp_min(0.0)
    chosen = miss.argmin(dim=-1)  # the first of several that do not miss at all
    return candidates[torch.arange(len(other), device=env.device), chosen]


def distance_to_way(points: torch.Tensor, start: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    """Distances [n, c] of points [n, c, d] from the straight way between ``start`` and ``end``, each [n, d]."""
    way, to_point = (end - start)[:, None], points - start[:, None]
    share = (to_point * way).sum(-1) / way.square().sum(-1).clamp_min(1e-12)
    return (to_point - share.clamp(0.0, 1.0)[..., None] * way).norm(dim=-1)
