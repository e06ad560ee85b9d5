# SPDX-License-Identifier: BSD-3-Clause
"""Floating-point operations of one sample through GR00T N1.7."""

from __future__ import annotations

from collections.abc import Sequence

from ..flops import Flops, attention, head_flops, language_flops, linear
from ..tokens import Grid
from .config import Gr00tN1d7Config


def count_flops(config: Gr00tN1d7Config, tokens: int, grids: Sequence[Grid]) -> Flops:
    """Return the forward operations per sample.

    Args:
        config: Sizes of the network.
        tokens: Length T of the prompt, image tokens included.
        grids: Patches of each picture of a sample.
    """
    head = head_flops(config.action_head, tokens, sum(config.tokens_of(grid) for grid in grids))
    vision = sum(_vision(config, grid) for grid in grids)
    language = language_flops(tokens, config.select_layer, config.text)
    return Flops(vision=vision, language=language, **head)


def _vision(config: Gr00tN1d7Config, grid: Grid) -> int:
    v, (frames, rows, columns) = config.vision, grid
    n, width, merged = frames * rows * columns, v.hidden_size, v.merge_unit * v.hidden_size
    layer = 4 * linear(n, width, width) + frames * attention(rows * columns, rows * columns, width)
    layer += linear(n, width, v.intermediate_size, width)
    mergers = 1 + len(v.deepstack_visual_indexes)
    tokens = config.tokens_of(grid)
    return (
        linear(n, v.patch_values, width)
        + v.depth * layer
        + mergers * linear(tokens, merged, merged, config.text.hidden_size)
    )
