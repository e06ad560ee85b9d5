# SPDX-License-Identifier: BSD-3-Clause
"""Floating-point operations of one sample through GR00T N1.5."""

from __future__ import annotations

from collections.abc import Sequence

from ..flops import Flops, attention, head_flops, linear
from ..tokens import Grid
from .config import Gr00tN1d5Config


def count_flops(config: Gr00tN1d5Config, tokens: int, grids: Sequence[Grid]) -> Flops:
    """Return the forward operations per sample.

    Args:
        config: Sizes of the network.
        tokens: Length T of the prompt, image tokens included.
        grids: Patches of each picture of a sample.
    """
    head = head_flops(config.action_head, tokens, len(grids) * config.tokens_per_image)
    return Flops(vision=_vision(config, len(grids)), language=_language(config, tokens), **head)


def _vision(config: Gr00tN1d5Config, views: int) -> int:
    v, n = config.vision, config.tokens_per_image
    width = v.hidden_size
    layer = 4 * linear(n, width, width) + attention(n, n, width) + linear(n, width, v.intermediate_size, width)
    patches = linear(n, 3 * v.patch_size**2, width)
    return views * (patches + v.num_hidden_layers * layer + linear(n, width, config.text.hidden_size))


def _language(config: Gr00tN1d5Config, tokens: int) -> int:
    t = config.text
    width, q, kv = t.hidden_size, t.num_attention_heads * t.head_dim, t.num_key_value_heads * t.head_dim
    projections = linear(tokens, width, q, width) + 2 * linear(tokens, width, kv)
    mlp = 3 * linear(tokens, width, t.intermediate_size)
    return config.select_layer * (projections + attention(tokens, tokens, q) + mlp)
