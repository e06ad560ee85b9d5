# SPDX-License-Identifier: BSD-3-Clause
"""Floating-point operations of one sample through GR00T, from its sizes: what a measured speed is compared with.

Counted are matrix products, two operations per multiply-add, and attention without a causal discount. Norms,
activations and the embedding look-up are left out: they are well under 1 % of the operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .head_config import ActionHeadConfig


@dataclass(frozen=True)
class Flops:
    """Forward operations per sample of each part, the pieces of a decision and of an update."""

    vision: int
    """Image encoder and projector, all views."""
    language: int
    """Language model over the whole prompt."""
    vl_self_attention: int
    """Self-attention blocks over the features."""
    state: int
    """State encoder."""
    cross_kv: int
    """Keys and values of the features, for all cross-attention blocks of the DiT."""
    velocity: int
    """Action encoder, DiT and action decoder, once."""

    @property
    def encode(self) -> int:
        """The frozen part: images and prompt to cached features."""
        return self.vision + self.language + self.vl_self_attention

    def denoise(self, steps: int = 4) -> int:
        """Cached features to an action chunk; keys and values are computed once."""
        return self.state + self.cross_kv + steps * self.velocity

    def update(self, steps: int = 1) -> int:
        """Forward and backward of the action head on cached features, ``steps`` velocities scored.

        A layer's backward costs twice its forward, or as much as it where the input needs no gradient (``cross_kv``).
        """
        return 3 * self.state + 2 * self.cross_kv + 3 * steps * self.velocity


def head_flops(head: ActionHeadConfig, tokens: int, image_tokens: int) -> dict[str, int]:
    """Return the forward operations per sample of the action head's pieces, by their names in :class:`Flops`.

    Args:
        head: Sizes.
        tokens: Features T.
        image_tokens: Those of them that are pictures.
    """
    seen = [_seen(head, index, tokens, image_tokens) for index in range(head.cross_blocks)]
    return {
        "vl_self_attention": _vl_self_attention(head, tokens),
        "state": _state(head),
        "cross_kv": _cross_kv(head, seen),
        "velocity": _velocity(head, seen),
    }


def _seen(head: ActionHeadConfig, cross_block: int, tokens: int, image_tokens: int) -> int:
    """Features that a block attends to."""
    sees_text = head.sees_text(cross_block)
    return tokens if sees_text is None else tokens - image_tokens if sees_text else image_tokens


def linear(rows: int, *widths: int) -> int:
    """A chain of linear layers, widths[0] -> widths[1] -> ..., on ``rows`` rows."""
    return sum(2 * rows * a * b for a, b in pairwise(widths))


def attention(queries: int, keys: int, width: int) -> int:
    """Scores and weighted sum of all heads together, whose outputs are ``width`` wide."""
    return 4 * queries * keys * width


def language_flops(tokens: int, layers: int, text: Any) -> int:
    """The first ``layers`` of a language model of sizes ``text``, a Qwen3: groups of heads share a key and value, MLPs
    are gated.
    """
    width, q, kv = text.hidden_size, text.num_attention_heads * text.head_dim, text.num_key_value_heads * text.head_dim
    projections = linear(tokens, width, q, width) + 2 * linear(tokens, width, kv)
    return layers * (projections + attention(tokens, tokens, q) + 3 * linear(tokens, width, text.intermediate_size))


def _vl_self_attention(head: ActionHeadConfig, tokens: int) -> int:
    width = head.backbone_embedding_dim
    projections, mlp = 4 * linear(tokens, width, width), linear(tokens, width, 4 * width, width)
    return head.vl_layers * (projections + attention(tokens, tokens, width) + mlp)


def _state(head: ActionHeadConfig) -> int:
    return linear(1, head.state_history_length * head.max_state_dim, head.hidden_size, head.input_embedding_dim)


def _cross_kv(head: ActionHeadConfig, seen: Sequence[int]) -> int:
    return 2 * linear(sum(seen), head.backbone_embedding_dim, head.input_embedding_dim)


def _velocity(head: ActionHeadConfig, seen: Sequence[int]) -> int:
    width, horizon = head.input_embedding_dim, head.action_horizon
    sequence = 1 + head.num_target_vision_tokens + horizon
    own = head.dit_layers // 2
    block = linear(1, width, 2 * width) + 2 * linear(sequence, width, width)
    block += linear(sequence, width, 4 * width, width)
    blocks = head.dit_layers * block + attention(sequence, sum(seen), width)
    blocks += own * (2 * linear(sequence, width, width) + attention(sequence, sequence, width))
    time_embedding = linear(1, 256, width, width)
    output = linear(1, width, 2 * width) + linear(sequence, width, head.hidden_size)
    encoder = linear(horizon, head.action_dim, width) + linear(horizon, 2 * width, width, width)
    decoder = linear(horizon, head.hidden_size, head.hidden_size, head.action_dim)
    return time_embedding + blocks + output + encoder + decoder
