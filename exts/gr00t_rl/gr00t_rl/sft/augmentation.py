# SPDX-License-Identifier: BSD-3-Clause
"""Random crops and colours of pictures, as GR00T is trained with them.

Source: the released N1.5 data configs (``VideoCrop`` to 0.95 of each side, ``VideoColorJitter`` with brightness 0.3,
contrast 0.4, saturation 0.5, hue 0.08). All cameras of a sample are changed alike, as there. The colour operations are
those of torchvision's ``ColorJitter``, in an order that is drawn for each sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..gr00t.n1d5.processor import RELEASED_CROP
from ..gr00t.processor import kept_sides

BRIGHTNESS, CONTRAST, SATURATION = 0.3, 0.4, 0.5
"""Factors are drawn from 1 - x to 1 + x."""
HUE = 0.08
"""Most that a hue is turned, of a full turn."""
GREY = (0.2989, 0.587, 0.114)
"""How much red, green and blue weigh in a picture's lightness."""


class Augmentation:
    """Changes pictures at random; numbers are drawn from torch's own generator on the CPU.

    Args:
        crop: Share of each side that is kept; 1: nothing is cut off.
    """

    def __init__(self, crop: float = RELEASED_CROP):
        self.crop = crop

    def __call__(self, views: Sequence[Tensor]) -> list[Tensor]:
        """Pictures of each camera, uint8 [B, H, W, 3] -> uint8 [B, H', W', 3], a share ``crop`` of each side."""
        count = len(views[0])
        place = torch.rand(count, 2)
        order = torch.rand(count, 4).argsort(dim=1).tolist()
        spread = torch.tensor((BRIGHTNESS, CONTRAST, SATURATION, HUE))
        amounts = ((2 * torch.rand(count, 4) - 1) * spread).tolist()
        return [
            torch.stack(
                [
                    self._one(picture, place[n].tolist(), order[n], amounts[n])
                    for n, picture in enumerate(view.unbind(0))
                ]
            )
            for view in views
        ]

    def _one(self, picture: Tensor, place: Sequence[float], order: Sequence[int], amounts: Sequence[float]) -> Tensor:
        picture = cropped(picture, place, self.crop)
        x = picture.float() / 255
        for number in order:
            x = _OPERATIONS[number](x, amounts[number])
        return (x * 255).round().to(torch.uint8)


def cropped(picture: Tensor, place: Sequence[float], share: float) -> Tensor:
    """A window with a ``share`` of each side of a picture [H, W, 3]; ``place`` in [0, 1) says where, from the top and
    left.
    """
    size = kept_sides(picture.shape[:2], share)
    top, left = (int(p * (side - kept + 1)) for p, side, kept in zip(place, picture.shape[:2], size, strict=True))
    return picture[top : top + size[0], left : left + size[1]]


def lightness(x: Tensor) -> Tensor:
    """Grey value of colours in [0, 1], [..., 3] -> [..., 1]."""
    red, green, blue = x.split(1, dim=-1)
    # numbers of the host: a tensor of them would be a copy to the device each time
    return GREY[0] * red + GREY[1] * green + GREY[2] * blue


def brightened(x: Tensor, amount: float) -> Tensor:
    """Colours times 1 + ``amount``."""
    return (x * (1 + amount)).clamp(0, 1)


def contrasted(x: Tensor, amount: float) -> Tensor:
    """Distances from the picture's mean lightness times 1 + ``amount``."""
    mean = lightness(x).mean()
    return (mean + (x - mean) * (1 + amount)).clamp(0, 1)


def saturated(x: Tensor, amount: float) -> Tensor:
    """Distances from each pixel's lightness times 1 + ``amount``."""
    grey = lightness(x)
    return (grey + (x - grey) * (1 + amount)).clamp(0, 1)


def turned(x: Tensor, amount: float) -> Tensor:
    """Hues turned by ``amount`` of a full turn; value and saturation (of HSV) stay."""
    value, least = x.amax(-1), x.amin(-1)
    chroma = value - least
    r, g, b = x.unbind(-1)
    safe = torch.where(chroma > 0, chroma, 1.0)
    hue = torch.where(value == r, (g - b) / safe % 6, torch.where(value == g, (b - r) / safe + 2, (r - g) / safe + 4))
    hue = hue + 6 * amount
    # each colour is `value` in two sixths of the turn, `least` in two, and goes from one to the other between them
    channels = [
        value - chroma * torch.minimum((offset + hue) % 6, 4 - (offset + hue) % 6).clamp(0, 1) for offset in (5, 3, 1)
    ]
    return torch.stack(channels, dim=-1).clamp(0, 1)


_OPERATIONS = (brightened, contrasted, saturated, turned)
