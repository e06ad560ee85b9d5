# SPDX-License-Identifier: BSD-3-Clause
"""OpenCV's and torchvision's ways to resize pictures of 8 bits, to the last bit, on any device.

Each output row (or column) is a sum of few input rows, so a resize is two passes over a short list of taps: which
rows, and how much of each. Both lists depend on the sizes alone.
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

    Where both sides shrink, an output pixel is the mean of the area it covers. Where one grows, OpenCV takes two
    neighbours with weights in fixed point.

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


class SmoothResize(nn.Module):
    """[N, H, W, C] uint8 -> [N, H', W', C] uint8, as torchvision's antialiased resizing on a CPU (which is Pillow's).

    Weights are integers, and pictures have 256 levels between the passes too: columns first, then rows.

    Args:
        before: (H, W).
        after: (H', W').
        mode: "bilinear" or "bicubic".
    """

    def __init__(self, before: tuple[int, int], after: tuple[int, int], mode: str):
        super().__init__()
        self.passes = [dim for dim in (2, 1) if before[dim - 1] != after[dim - 1]]
        self.precisions = []
        for dim in self.passes:
            index, weights, precision = filter_taps(before[dim - 1], after[dim - 1], mode)
            self.precisions.append(precision)
            self.register_buffer(f"index_{dim}", index, persistent=False)
            self.register_buffer(f"weights_{dim}", weights, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """[N, H, W, C] uint8 -> [N, H', W', C] uint8."""
        for dim, precision in zip(self.passes, self.precisions, strict=True):
            total = _weigh(image, self.get_buffer(f"index_{dim}"), self.get_buffer(f"weights_{dim}"), dim)
            image = ((total + (1 << (precision - 1))) >> precision).clamp_(0, 255).byte()
        return image


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
    index, weights = _filled(table)
    return index, weights.float()


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


def filter_taps(before: int, after: int, mode: str) -> tuple[Tensor, Tensor, int]:
    """Taps long [K, after], int32 weights [K, after], and the power of 2 that weighs 1, of Pillow's filters.

    Where a side shrinks, the filter is as much wider. Unused taps weigh 0.
    """
    reach, kernel = (1.0, _triangle) if mode == "bilinear" else (2.0, _cubic)
    scale = before / after
    wider = max(scale, 1.0)
    table: list[list[tuple[int, float]]] = []
    for i in range(after):
        centre = scale * (i + 0.5)
        first = max(int(centre - reach * wider + 0.5), 0)
        last = min(int(centre + reach * wider + 0.5), before)
        parts = [kernel((j - centre + 0.5) / wider) for j in range(first, last)]
        table.append([(j, part / sum(parts)) for j, part in zip(range(first, last), parts, strict=True)])
    index, weights = _filled(table)
    largest, precision = float(weights.max()), 0
    while precision < 22 and int(0.5 + largest * (1 << (precision + 1))) < 1 << 15:  # weights of 16 bits
        precision += 1
    scaled = weights * (1 << precision)
    return index, (scaled + torch.where(scaled < 0, -0.5, 0.5)).trunc().int(), precision


def _triangle(x: float) -> float:
    return max(1 - abs(x), 0.0)


def _cubic(x: float) -> float:
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


def _filled(table: list[list[tuple[int, float]]]) -> tuple[Tensor, Tensor]:
    """Taps and weights of each output pixel as tensors [K, pixels], long and float64; unused taps weigh 0."""
    count = max(map(len, table))
    filled = [taps + [(taps[0][0], 0.0)] * (count - len(taps)) for taps in table]
    index = torch.tensor([[j for j, _ in taps] for taps in filled]).T.contiguous()
    return index, torch.tensor([[part for _, part in taps] for taps in filled], dtype=torch.float64).T.contiguous()


def _scale(before: int, after: int) -> float:
    return 1.0 / (after / before)  # as OpenCV divides: 1 ulp decides where an area begins
