# SPDX-License-Identifier: BSD-3-Clause
"""How an iteration's decisions are cut up for the update: one by one, or whole envs where a model is recurrent.

``rows`` are the rows of the batch to cut up, int64 [R], and ``env`` says which env each row of the batch belongs to,
int64 [B], or is None where decisions need not stay together. With it, the rows of each env must be neighbours; see
:meth:`~gr00t_rl.models.recurrent.RecurrentMemory.in_sequence`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tensordict import TensorDict


def num_units(rows: torch.Tensor, env: torch.Tensor | None) -> int:
    """Return into how many parts the rows can be cut."""
    return len(rows) if env is None else len(_by_env(rows, env))


def shuffled(rows: torch.Tensor, number: int, env: torch.Tensor | None) -> Sequence[torch.Tensor]:
    """Return the rows of ``number`` minibatches, int64 [R_i] each, in a new random order; every row is in one."""
    if env is None:
        return rows[torch.randperm(len(rows), device=rows.device)].tensor_split(number)
    units = _by_env(rows, env)
    # ascending within the minibatch, so that it can be split like the batch
    parts = (part.sort().values.tolist() for part in torch.randperm(len(units)).tensor_split(number))
    return [torch.cat([rows[:0], *(units[i] for i in part)]) for part in parts]


def every(n: int, rows: torch.Tensor, env: torch.Tensor | None) -> torch.Tensor:
    """Return every ``n``-th row, or all rows of every ``n``-th env."""
    return rows[::n] if env is None else torch.cat([rows[:0], *_by_env(rows, env)[::n]])


def split(batch: TensorDict, size: int, env: torch.Tensor | None) -> Sequence[TensorDict]:
    """Return pieces of ``size`` decisions, in order; of whole envs, as many as fit but at least one."""
    if env is None or len(batch) <= size:
        return batch.split(size)
    sizes = [0]
    for unit in _by_env(torch.arange(len(batch), device=env.device), env):
        if sizes[-1] > 0 and sizes[-1] + len(unit) > size:
            sizes.append(0)
        sizes[-1] += len(unit)
    return batch.split(sizes)


def _by_env(rows: torch.Tensor, env: torch.Tensor) -> Sequence[torch.Tensor]:
    """Return the rows of each env that is among them."""
    _, counts = env[rows].unique_consecutive(return_counts=True)
    return rows.split(counts.tolist())
