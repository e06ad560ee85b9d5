# SPDX-License-Identifier: BSD-3-Clause
"""Layers with one set of weights per embodiment, and how to keep only one of them.

Gathering ``W[embodiment_id]`` copies the weights once per sample: the action encoder's ``W2`` alone is 9.4 MB a sample
at full size, 39 GB at a batch of 4096. A run with a single robot should call ``slice_embodiment`` first.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dit import sinusoid_angles


class CategorySpecificLinear(nn.Module):
    """``x @ W[id] + b[id]``, with W [E, in, out] and b [E, out].

    After :meth:`slice`, W is [1, in, out]: ids are ignored and one plain matmul serves the batch.
    """

    def __init__(self, num_categories: int, in_dim: int, out_dim: int):
        super().__init__()
        # The release draws W from N(0, 0.02). 1/sqrt(in) is that (0.02 to 0.03) at full size, and keeps a tiny
        # network, whose fan-in is 20 times smaller, from passing hardly any of its state and action through.
        self.W = nn.Parameter(torch.randn(num_categories, in_dim, out_dim) / math.sqrt(in_dim))
        self.b = nn.Parameter(torch.zeros(num_categories, out_dim))
        # (id, W, b) of the whole table while sliced: plain CPU tensors, neither parameters nor buffers.
        self._table: tuple[int, Tensor, Tensor] | None = None

    def forward(self, x: Tensor, ids: Tensor | None) -> Tensor:
        """x [B, S, in], ids [B] long (may be None when there is one category) -> [B, S, out]"""
        if self.W.shape[0] == 1:
            return F.linear(x, self.W[0].T, self.b[0])
        if ids is None:
            raise ValueError(
                f"embodiment_id is None with {self.W.shape[0]} embodiments: give ids or slice_embodiment()"
            )
        return torch.baddbmm(self.b[ids].unsqueeze(1), x, self.W[ids])

    @property
    def idle_bytes(self) -> int:
        """Bytes of the whole table, in CPU memory while sliced; 0 otherwise."""
        return 0 if self._table is None else sum(tensor.nbytes for tensor in self._table[1:])

    def full_table(self) -> tuple[Tensor, Tensor]:
        """W [E, in, out] and b [E, out] of all categories, with the present slice put back in its row."""
        if self._table is None:
            return self.W.detach(), self.b.detach()
        index, *table = self._table
        full = []
        for whole, present in zip(table, (self.W, self.b), strict=True):
            whole = whole.to(present.dtype, copy=True)
            whole[index] = present[0].detach().cpu()
            full.append(whole)
        return full[0], full[1]

    @torch.no_grad()
    def slice(self, index: int) -> None:
        """Keep only category ``index``. May be called again with another index.

        Raises:
            ValueError: no such category.
        """
        W, b = self.full_table()
        if not 0 <= index < W.shape[0]:
            raise ValueError(f"embodiment id is {index}, the checkpoint has 0 to {W.shape[0] - 1}: set one of these")
        # The row must be copied: a view would keep the whole table alive on the device.
        kept = (W[index : index + 1].clone(), b[index : index + 1].clone())
        self._table = (index, W.cpu(), b.cpu())
        self.W = nn.Parameter(kept[0].to(self.W.device), requires_grad=self.W.requires_grad)
        self.b = nn.Parameter(kept[1].to(self.b.device), requires_grad=self.b.requires_grad)


class CategorySpecificMLP(nn.Module):
    """``layer1`` -> ReLU -> ``layer2``, each per embodiment."""

    def __init__(self, num_categories: int, in_dim: int, hidden_dim: int, out_dim: int):
        super().__init__()
        self.layer1 = CategorySpecificLinear(num_categories, in_dim, hidden_dim)
        self.layer2 = CategorySpecificLinear(num_categories, hidden_dim, out_dim)

    def forward(self, x: Tensor, ids: Tensor | None) -> Tensor:
        """[B, S, in] -> [B, S, out]"""
        return self.layer2(F.relu(self.layer1(x, ids)), ids)


class ActionEncoder(nn.Module):
    """Noisy actions and their timestep to tokens of width w."""

    def __init__(self, num_categories: int, action_dim: int, dim: int):
        super().__init__()
        self.W1 = CategorySpecificLinear(num_categories, action_dim, dim)
        self.W2 = CategorySpecificLinear(num_categories, 2 * dim, dim)
        self.W3 = CategorySpecificLinear(num_categories, dim, dim)

    def forward(self, x: Tensor, timestep: Tensor, ids: Tensor | None) -> Tensor:
        """x [B, H, A], timestep [B] long -> [B, H, w]"""
        tokens = self.W1(x, ids)  # [B, H, w]
        angles = sinusoid_angles(timestep, tokens.shape[-1] // 2, tokens.shape[-1] // 2)
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1).to(tokens.dtype)  # [B, w]
        tokens = torch.cat([tokens, waves[:, None].expand_as(tokens)], dim=-1)  # [B, H, 2w]
        return self.W3(F.silu(self.W2(tokens, ids)), ids)
