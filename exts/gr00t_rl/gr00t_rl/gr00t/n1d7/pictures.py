# SPDX-License-Identifier: BSD-3-Clause
"""From camera images to the patches that Qwen3-VL's image encoder reads, in batches and on the device they are on.

Geometry follows the newest release: ``shortest_image_edge`` keeps the aspect ratio, and where it is null pictures
become ``image_target_size``, whatever theirs was. Qwen's own processor then rounds the sides to whole image tokens.
Between the steps pictures have 256 levels, as the release's have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError
from .recipe import Recipe
from .resampling import AreaResize, SmoothResize

Size = tuple[int, int]
"""Height and width [px]."""


class Window(nn.Module):
    """Cuts a window out of a picture, or pads it with black: [N, H, W, C] -> [N, H', W', C]."""

    def __init__(self, top: int, bottom: int, left: int, right: int):
        super().__init__()
        self.margins = (top, bottom, left, right)
        """What is added on each side [px]; negative: what is cut off."""

    def forward(self, image: Tensor) -> Tensor:
        """[N, H, W, C] -> [N, H', W', C]"""
        top, bottom, left, right = self.margins
        return F.pad(image, (0, 0, left, right, top, bottom))


def smart_resize(size: Size, factor: int, limits: tuple[int, int]) -> Size:
    """The nearest size whose sides are multiples of ``factor`` and whose area is within ``limits`` [px].

    Raises:
        ValueError: A picture too long and thin.
    """
    height, width = size
    if max(size) > 200 * min(size):
        raise ValueError(f"a picture of {height} x {width} pixels is too thin: give sides of 1 : 200 at most")
    sides = [round(side / factor) * factor for side in size]
    least, most = limits
    if sides[0] * sides[1] > most:
        shrink = math.sqrt(height * width / most)
        sides = [max(factor, math.floor(side / shrink / factor) * factor) for side in size]
    elif sides[0] * sides[1] < least:
        grow = math.sqrt(least / (height * width))
        sides = [math.ceil(side * grow / factor) * factor for side in size]
    return sides[0], sides[1]


class PicturePatches(nn.Module):
    """Camera images of one size to patches.

    Args:
        recipe: The checkpoint's.
        size: Of the camera's images.
        patch: Side of a patch [px].
        merge: Patches along a side of an image token.
    """

    def __init__(self, recipe: Recipe, size: Size, patch: int, merge: int):
        super().__init__()
        self.patch, self.merge = patch, merge
        self.before = size
        self.steps, after = geometry(recipe, size)
        self.size = smart_resize(after, patch * merge, recipe.pixel_limits)
        """Of the picture that is cut into patches."""
        if self.size != after:
            self.steps.append(SmoothResize(after, self.size, "bicubic"))

    @property
    def grid(self) -> tuple[int, int, int]:
        """Patches of a picture: frames, rows, columns."""
        return 1, self.size[0] // self.patch, self.size[1] // self.patch

    def resize(self, image: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] -> the picture that is cut into patches, uint8 [N, H', W', 3].

        Raises:
            ValueError: Images of another size.
        """
        if tuple(image.shape[1:3]) != self.before:
            raise ValueError(
                f"image is {image.shape[1]} x {image.shape[2]} pixels, the prompt was made for {self.before[0]} x "
                f"{self.before[1]}: give image_sizes as the cameras are"
            )
        return self.steps(image)

    def forward(self, image: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] -> uint8 [N, patches, 3, patch^2], of one frame.

        The patches of an image token stand together; a patch is channel, row, column.
        """
        pixels = self.resize(image)
        n, p, m = len(pixels), self.patch, self.merge
        _, rows, columns = self.grid
        pixels = pixels.reshape(n, rows // m, m, p, columns // m, m, p, 3)
        patches = pixels.permute(0, 1, 4, 2, 5, 7, 3, 6)  # [N, rows/m, columns/m, m, m, 3, p, p]
        return patches.reshape(n, rows * columns, 3, p * p)


def to_values(patches: Tensor, frames: int) -> Tensor:
    """Patches of 8 bits as the image encoder takes them, repeated ``frames`` times.

    Repeating and the change of type are one copy, and the scaling is done in it: at full size 32-bit patches of two
    frames are eight times as large as the picture, and no second tensor of that size is made.

    Args:
        patches: uint8 [N, patches, 3, pixels].
        frames: Equal frames in a patch.

    Returns:
        float32 [N, patches, 3 * frames * pixels] in [-1, 1]: channel, frame, pixel.
    """
    repeated = patches.unsqueeze(3).expand(-1, -1, -1, frames, -1)
    values = repeated.to(torch.float32, memory_format=torch.contiguous_format)
    return values.div_(127.5).sub_(1).flatten(2)  # rescale by 1/255, then mean 0.5 and std 0.5


def geometry(recipe: Recipe, size: Size) -> tuple[nn.Sequential, Size]:
    """The release's steps in evaluation for images of ``size``, and the size that they lead to.

    Raises:
        CheckpointError: The recipe lacks what the steps need.
    """
    steps = nn.Sequential()
    if recipe.letter_box_transform and size[0] != size[1]:
        top, left = ((max(size) - side) // 2 for side in size)
        steps.append(Window(top, max(size) - size[0] - top, left, max(size) - size[1] - left))
        size = (max(size), max(size))
    follow = _opencv if recipe.use_albumentations else _torchvision
    return steps, follow(recipe, size, steps)


def _opencv(recipe: Recipe, size: Size, steps: nn.Sequential) -> Size:
    """Resize, cut the centre out, resize again, by areas."""
    if recipe.shortest_image_edge is None and recipe.image_target_size is None:
        return size
    size = _area(recipe, size, steps)
    fraction = recipe.crop_fraction
    if fraction is None:
        if recipe.image_crop_size is None or recipe.image_target_size is None:
            raise CheckpointError(
                f"the checkpoint's {recipe.file} says crop_fraction is null, but image_crop_size or image_target_size "
                "too: set them"
            )
        fraction = recipe.image_crop_size[0] / recipe.image_target_size[0]
    size = _cut(size, [max(1, int(side * fraction)) for side in size], steps, lambda gap: gap // 2)
    return _area(recipe, size, steps)


def _area(recipe: Recipe, size: Size, steps: nn.Sequential) -> Size:
    after = recipe.image_target_size
    if recipe.shortest_image_edge is not None:
        scale = recipe.shortest_image_edge / min(size)
        after = (round(size[0] * scale), round(size[1] * scale))
    assert after is not None
    if after != size:
        steps.append(AreaResize(size, after))
    return after


def _torchvision(recipe: Recipe, size: Size, steps: nn.Sequential) -> Size:
    """The same with torchvision's antialiased bilinear resizing."""
    target, crop = recipe.image_target_size, recipe.image_crop_size
    if target is None or crop is None:
        raise CheckpointError(
            f"the checkpoint's {recipe.file} says image_target_size is {target} and image_crop_size {crop}, but "
            "use_albumentations is false: set both"
        )
    if size != target:
        steps.append(SmoothResize(size, target, "bilinear"))
    if crop[0] > target[0] or crop[1] > target[1]:
        raise CheckpointError(
            f"the checkpoint's {recipe.file} says image_crop_size is {list(crop)}, which is larger than "
            f"image_target_size {list(target)}: set less"
        )
    size = _cut(target, crop, steps, lambda gap: round(gap / 2))
    if size != target:
        steps.append(SmoothResize(size, target, "bilinear"))
    return target


def _cut(size: Size, crop: Sequence[int], steps: nn.Sequential, half: Callable[[int], int]) -> Size:
    """Cut the centre of a picture out; ``half`` of the rest goes off at the top and at the left."""
    rest = [side - kept for side, kept in zip(size, crop, strict=True)]
    top, left = (half(gap) for gap in rest)
    if any(rest):
        steps.append(Window(-top, top - rest[0], -left, left - rest[1]))
    return crop[0], crop[1]
