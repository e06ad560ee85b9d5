# SPDX-License-Identifier: BSD-3-Clause
"""OpenCV's ``INTER_AREA`` for pictures of 8 bits, on any device.

Each output row (or column) is a sum of few input rows, so a resize is two passes over a short list of taps: which
rows, and how much of each. Both lists depend on the sizes alone.

Where both sides shrink, an output pixel is the mean of the area it covers. Where one grows, OpenCV takes two
neighbours with weights in fixed point, and rounds as that does; so do we.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_EPSILON = 2.0**-52
_THIN = 1e-3  # OpenCV leaves out what is thinner, in pixels
_ONE = 2048  # 1 in OpenCV's fixed point


class AreaResize(nn.Module):
    """[N, H, W, C] uint8 -> [N, H', W', C] uint8, as ``cv2.resize(..., interpolation=cv2.INTER_AREA)``.

    Args:
        before: (H, W).
        after: (H', W').
    """

    rows: Tensor
    columns: Tensor
    row_weights: Tensor
    column_weights: Tensor

    def __init__(self, before: tuple[int, int], after: tuple[int, int]):
        super().__init__()
        scales = [_scale(b, a) for b, a in zip(before, after, strict=True)]
        self.shrinks = min(scales) >= 1
        # OpenCV has a way of its own for halves: ties go up, not to the even number.
        self.halves = self.shrinks and all(abs(scale - 2) < _EPSILON for scale in scales)
        for names, b, a, last in (
            (("rows", "row_weights"), before[0], after[0], False),
            (("columns", "column_weights"), before[1], after[1], True),
        ):
            taps = area_taps(b, a) if self.shrinks else neighbour_taps(b, a, last)
            for name, tensor in zip(names, taps, strict=True):
                self.register_buffer(name, tensor, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """[N, H, W, C] uint8 -> [N, H', W', C] uint8."""
        if self.shrinks:
            wide = _weigh(image, self.columns, self.column_weights, 2)
            means = _weigh(wide, self.rows, self.row_weights, 1)
            return (means + 0.5).floor_().byte() if self.halves else means.round_().byte()
        wide = _weigh(image.int(), self.columns, self.column_weights, 2) >> 4
        (upper, lower), weights = self.rows.unbind(), self.row_weights[:, None, :, None, None]
        above = (wide.index_select(1, upper) * weights[0]) >> 16
        below = (wide.index_select(1, lower) * weights[1]) >> 16
        return ((above + below + 2) >> 2).clamp_(0, 255).byte()


def _weigh(x: Tensor, index: Tensor, weights: Tensor, dim: int) -> Tensor:
    """Sum over k of the weighted slices ``index[k]`` of ``x`` along ``dim``, in the weights' type."""
    shape = [1] * x.ndim
    shape[dim] = -1
    total = x.index_select(dim, index[0]) * weights[0].view(shape)
    for k in range(1, len(index)):
        total += x.index_select(dim, index[k]) * weights[k].view(shape)
    return total


def area_taps(before: int, after: int) -> tuple[Tensor, Tensor]:
    """Taps long [K, after] and float32 weights [K, after] of the exact mean; ``before`` >= ``after``.

    An output pixel covers ``before / after`` input pixels, the outer ones in part. Unused taps weigh 0.
    """
    scale = _scale(before, after)
    table: list[list[tuple[int, float]]] = []
    for i in range(after):
        start = i * scale
        end = start + scale
        width = min(scale, before - start)
        last = min(math.floor(end), before - 1)
        first = min(math.ceil(start), last)
        taps = [(first - 1, first - start)] if first - start > _THIN else []
        taps += [(j, 1.0) for j in range(first, last)]
        if end - last > _THIN:
            taps.append((last, min(end - last, 1.0, width)))
        table.append([(j, part / width) for j, part in taps])
    count = max(map(len, table))
    filled = [taps + [(taps[0][0], 0.0)] * (count - len(taps)) for taps in table]
    index = torch.tensor([[j for j, _ in taps] for taps in filled]).T.contiguous()
    return index, torch.tensor([[part for _, part in taps] for taps in filled]).T.contiguous()


def neighbour_taps(before: int, after: int, clamp: bool) -> tuple[Tensor, Tensor]:
    """Taps long [2, after] and int32 weights [2, after] in 1/2048, by OpenCV's rule where a side grows.

    Args:
        before: Input pixels.
        after: Output pixels.
        clamp: Whether the last pixel stands alone (columns) or twice, with both weights (rows).
    """
    scale = _scale(before, after)
    index, weights = [], []
    for i in range(after):
        j = math.floor(i * scale)
        part = (i + 1) - (j + 1) * (after / before)
        part = 0.0 if part <= 0 else part - math.floor(part)
        if j >= before - 1:
            j, part = before - 1, 0.0 if clamp else part
        index.append((j, min(j + 1, before - 1)))
        single = torch.tensor(part)  # OpenCV rounds in float32
        weights.append((((1 - single) * _ONE).round().int(), (single * _ONE).round().int()))
    return torch.tensor(index).T.contiguous(), torch.tensor(weights, dtype=torch.int32).T.contiguous()


def _scale(before: int, after: int) -> float:
    return 1.0 / (after / before)  # as OpenCV divides: 1 ulp decides where an area begins
