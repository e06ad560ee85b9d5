# SPDX-License-Identifier: BSD-3-Clause
"""A batch of prompts as the backbone reads it, and which of its tokens are pictures, as the action head wants to know."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

Grid = tuple[int, int, int]
"""Patches of one picture: frames, rows, columns."""


@dataclass(frozen=True)
class TracedPrompt:
    """What of a prompt is made ahead, for tracers that cannot follow the reading of its tokens."""

    embeds: Tensor
    """Embeddings of the prompt's tokens [B, T, D]."""
    order: Tensor
    """Long [T]: row i of the language model's input is row ``order[i]`` of embeddings and image tokens together."""
    causal_mask: Tensor
    """Added to the scores, [1, 1, T, T]: 0 where a token is seen, and the type's least number elsewhere."""


@dataclass(frozen=True)
class Prompt:
    """A batch of prompts, tokenised."""

    input_ids: Tensor
    """Long [B, T]."""
    attention_mask: Tensor | None = None
    """Long [B, T], 0 at padding; None where nothing is padded, or only on the right, which causal models do not see."""
    position_ids: Tensor | None = None
    """Long [3, B, T], frame, row and column of each token, where the language model's positions have all three."""
    grids: tuple[Grid, ...] = ()
    """Patches of each picture of a sample, alike in all samples."""
    traced: TracedPrompt | None = field(default=None, repr=False)

    @property
    def batch_size(self) -> int:
        """Number of samples B."""
        return self.input_ids.shape[0]


@dataclass(frozen=True)
class TokenKinds:
    """Where a prompt's tokens are pictures and where text; the same number of each in all samples."""

    text: Tensor
    """Positions of the tokens that are no picture's, long [m], alike in all samples, or [B, m]."""
    image: Tensor
    """Positions of the pictures' tokens, long [n] or [B, n]."""

    @classmethod
    def of(cls, is_image: Tensor) -> TokenKinds:
        """Read them from ``is_image``, bool [T] or [B, T]. Waits for the device.

        Raises:
            ValueError: Samples with different numbers of image tokens.
        """
        counts = is_image.sum(-1)
        images = int(counts.max()) if counts.numel() else 0
        if bool((counts != images).any()):
            raise ValueError(f"samples have {counts.unique().tolist()} image tokens: give all the same pictures")
        order = torch.argsort(is_image.long(), dim=-1, stable=True)  # text first, each in order
        texts = is_image.shape[-1] - images
        return cls(order[..., :texts], order[..., texts:])

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Text's and pictures' rows of ``x`` [B, T, ...]."""
        return _rows(x, self.text), _rows(x, self.image)


def _rows(x: Tensor, positions: Tensor) -> Tensor:
    """Rows ``positions``, [n] or [B, n], of each sample of ``x`` [B, T, ...]: [B, n, ...]."""
    if positions.ndim == 1:
        return x.index_select(1, positions)
    index = positions.reshape(*positions.shape, *(1,) * (x.ndim - 2)).expand(*positions.shape, *x.shape[2:])
    return x.gather(1, index)
