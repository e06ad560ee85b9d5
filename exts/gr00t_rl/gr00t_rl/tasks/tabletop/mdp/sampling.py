# SPDX-License-Identifier: BSD-3-Clause
"""Random starts that envs can share in groups.

Group-relative algorithms compare episodes from the same start: ``env.cfg.start_group_size`` neighbouring envs draw the
same numbers; 1 gives every env its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedEnv


def env_index(env: ManagerBasedEnv, env_ids: torch.Tensor | slice) -> torch.Tensor:
    """Env indices [n] as int32: a full reset passes a slice."""
    if isinstance(env_ids, slice):
        return torch.arange(env.num_envs, device=env.device, dtype=torch.int32)
    return env_ids.to(torch.int32)


def start_rand(env: ManagerBasedEnv, env_ids: torch.Tensor, *shape: int) -> torch.Tensor:
    """Uniform numbers [n, *shape] in [0, 1), one draw for each group of envs."""
    size = env.cfg.start_group_size
    draws = torch.rand(-(-env.num_envs // size), *shape, device=env.device)
    return draws[env_ids.long() // size]


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
