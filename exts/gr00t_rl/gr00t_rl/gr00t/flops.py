# SPDX-License-Identifier: BSD-3-Clause
"""Floating-point operations of one sample through GR00T N1.5, from its sizes: what a measured speed is compared with.

Counted are matrix products, two operations per multiply-add, and attention without a causal discount. Norms,
activations and the embedding look-up are left out: they are well under 1 % of the operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from .config import Gr00tN1d5Config


@dataclass(frozen=True)
class Flops:
    """Forward operations per sample of each part, the pieces of a decision and of an update."""

    vision: int
    """SigLIP2 and the projector, all views."""
    language: int
    """Qwen3 over the whole prompt."""
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


def count_flops(config: Gr00tN1d5Config, tokens: int, views: int) -> Flops:
    """Return the forward operations per sample.

    Args:
        config: Sizes of the network.
        tokens: Length T of the prompt, image tokens included.
        views: Images per sample.
    """
    return Flops(
        vision=_vision(config, views),
        language=_language(config, tokens),
        vl_self_attention=_vl_self_attention(config, tokens),
        state=_state(config),
        cross_kv=_cross_kv(config, tokens),
        velocity=_velocity(config, tokens),
    )


def _linear(rows: int, *widths: int) -> int:
    """A chain of linear layers, widths[0] -> widths[1] -> ..., on ``rows`` rows."""
    return sum(2 * rows * a * b for a, b in pairwise(widths))


def _attention(queries: int, keys: int, width: int) -> int:
    """Scores and weighted sum of all heads together, whose outputs are ``width`` wide."""
    return 4 * queries * keys * width


def _vision(config: Gr00tN1d5Config, views: int) -> int:
    v, n = config.vision, config.tokens_per_image
    width = v.hidden_size
    layer = 4 * _linear(n, width, width) + _attention(n, n, width) + _linear(n, width, v.intermediate_size, width)
    patches = _linear(n, 3 * v.patch_size**2, width)
    return views * (patches + v.num_hidden_layers * layer + _linear(n, width, config.text.hidden_size))


def _language(config: Gr00tN1d5Config, tokens: int) -> int:
    t = config.text
    width, q, kv = t.hidden_size, t.num_attention_heads * t.head_dim, t.num_key_value_heads * t.head_dim
    projections = _linear(tokens, width, q, width) + 2 * _linear(tokens, width, kv)
    mlp = 3 * _linear(tokens, width, t.intermediate_size)
    return config.select_layer * (projections + _attention(tokens, tokens, q) + mlp)


def _vl_self_attention(config: Gr00tN1d5Config, tokens: int) -> int:
    head = config.action_head
    width = head.backbone_embedding_dim
    projections, mlp = 4 * _linear(tokens, width, width), _linear(tokens, width, 4 * width, width)
    return head.vl_layers * (projections + _attention(tokens, tokens, width) + mlp)


def _state(config: Gr00tN1d5Config) -> int:
    head = config.action_head
    return _linear(1, head.max_state_dim, head.hidden_size, head.input_embedding_dim)


def _cross_kv(config: Gr00tN1d5Config, tokens: int) -> int:
    head = config.action_head
    cross_blocks = (head.dit_layers + 1) // 2
    return cross_blocks * 2 * _linear(tokens, head.backbone_embedding_dim, head.input_embedding_dim)


def _velocity(config: Gr00tN1d5Config, tokens: int) -> int:
    head = config.action_head
    width, horizon = head.input_embedding_dim, head.action_horizon
    sequence = 1 + head.num_target_vision_tokens + horizon
    cross, own = (head.dit_layers + 1) // 2, head.dit_layers // 2
    block = _linear(1, width, 2 * width) + 2 * _linear(sequence, width, width)
    block += _linear(sequence, width, 4 * width, width)
    blocks = head.dit_layers * block + cross * _attention(sequence, tokens, width)
    blocks += own * (2 * _linear(sequence, width, width) + _attention(sequence, sequence, width))
    time_embedding = _linear(1, 256, width, width)
    output = _linear(1, width, 2 * width) + _linear(sequence, width, head.hidden_size)
    encoder = _linear(horizon, head.action_dim, width) + _linear(horizon, 2 * width, width, width)
    decoder = _linear(horizon, head.hidden_size, head.hidden_size, head.action_dim)
    return time_embedding + blocks + output + encoder + decoder
