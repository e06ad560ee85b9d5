# SPDX-License-Identifier: BSD-3-Clause
"""Floating-point operations of one sample through GR00T N1.5."""

from __future__ import annotations

from collections.abc import Sequence

from ..flops import Flops, attention, head_flops, language_flops, linear
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
    language = language_flops(tokens, config.select_layer, config.text)
    return Flops(vision=_vision(config, len(grids)), language=language, **head)


def _vision(config: Gr00tN1d5Config, views: int) -> int:
    v, n = config.vision, config.tokens_per_image
    width = v.hidden_size
    layer = 4 * linear(n, width, width) + attention(n, n, width) + linear(n, width, v.intermediate_size, width)
    patches = linear(n, 3 * v.patch_size**2, width)
    return views * (patches + v.num_hidden_layers * layer + linear(n, width, config.text.hidden_size))
