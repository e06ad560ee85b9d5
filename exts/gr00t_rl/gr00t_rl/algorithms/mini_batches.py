# SPDX-License-Identifier: BSD-3-Clause
"""How an iteration's decisions are cut up for the update: one by one, or whole envs where a model is recurrent.

All functions take the batch [B] and the memory of recurrent models, None without any. With one, the batch comes from
:meth:`~gr00t_rl.models.recurrent.RecurrentMemory.in_sequence`, and what an env did stays together.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tensordict import TensorDict

from ..models.recurrent import RecurrentMemory


def num_pieces(batch: TensorDict, memory: RecurrentMemory | None) -> int:
    """Return into how many parts the batch can be cut."""
    return len(batch) if memory is None else len(memory.rows_by_env(batch))


def shuffled(batch: TensorDict, number: int, memory: RecurrentMemory | None) -> Iterable[torch.Tensor]:
    """Return the rows of ``number`` minibatches, int64 [B_i] each, in a new random order; every row is in one."""
    if memory is None:
        return torch.randperm(len(batch), device=batch["log_prob"].device).tensor_split(number)
    envs = memory.rows_by_env(batch)
    order = torch.randperm(len(envs)).tensor_split(number)
    # in order within the minibatch, so that it can be split like the batch
    return [torch.cat([envs[i] for i in sorted(chosen.tolist())]) for chosen in order]


def split(batch: TensorDict, size: int, memory: RecurrentMemory | None) -> Iterable[TensorDict]:
    """Return pieces of ``size`` decisions, in order; of whole envs, as many as fit but at least one."""
    if memory is None or len(batch) <= size:
        return batch.split(size)
    sizes = [0]
    for rows in memory.rows_by_env(batch):
        if sizes[-1] > 0 and sizes[-1] + len(rows) > size:
            sizes.append(0)
        sizes[-1] += len(rows)
    return batch.split(sizes)


def every(n: int, batch: TensorDict, memory: RecurrentMemory | None) -> TensorDict:
    """Return every ``n``-th decision, or all of every ``n``-th env."""
    return batch[::n] if memory is None else batch[torch.cat(memory.rows_by_env(batch)[::n])]
