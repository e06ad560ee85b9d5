# SPDX-License-Identifier: BSD-3-Clause
"""Resizing against exact means and torch's own integer kernels, the geometry of recipes, and the order of patches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gr00t_rl.gr00t.errors import CheckpointError
from gr00t_rl.gr00t.n1d7.pictures import PicturePatches, geometry, smart_resize, to_values
from gr00t_rl.gr00t.n1d7.recipe import Recipe
from gr00t_rl.gr00t.n1d7.resampling import AreaResize, SmoothResize, area_taps

SIZES = [
    ((60, 80), (64, 64)),
    ((96, 64), (64, 64)),
    ((64, 96), (64, 64)),
    ((243, 323), (256, 340)),
    ((50, 31), (20, 90)),
]


def noise(*size: int) -> Tensor:
    return torch.randint(0, 256, (2, *size, 3), dtype=torch.uint8)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("before", "after"), SIZES)
def test_smooth_resize_is_torchs_integer_kernel(before: tuple[int, int], after: tuple[int, int], mode: str) -> None:
    image = noise(*before)
    expected = F.interpolate(image.permute(0, 3, 1, 2), after, mode=mode, antialias=True).permute(0, 2, 3, 1)
    assert torch.equal(SmoothResize(before, after, mode)(image), expected)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_area_of_whole_blocks(factor: int) -> None:
    """The mean of each block, rounded; a half goes up in blocks of 2 x 2 and to the even number in larger ones."""
    image = noise(12 * factor, 8 * factor)
    mean = image.double().unflatten(2, (8, factor)).unflatten(1, (12, factor)).mean(dim=(2, 4))
    expected = (mean + 0.5).floor() if factor == 2 else mean.round()
    assert torch.equal(AreaResize((12 * factor, 8 * factor), (12, 8))(image), expected.byte())


def test_area_of_parts_of_pixels() -> None:
    """Five pixels to two: two and a half each; a column alone, so that the rows stay."""
    row = torch.tensor([0, 100, 200, 50, 250], dtype=torch.uint8)
    found = AreaResize((1, 5), (1, 2))(row.view(1, 1, 5, 1).expand(1, 1, 5, 3))
    assert found[0, 0, :, 0].tolist() == [80, 160]  # (0 + 100 + 100) / 2.5 and (100 + 50 + 250) / 2.5
    index, weights = area_taps(5, 2)
    torch.testing.assert_close(weights.sum(0), torch.ones(2))
    assert index.T.tolist() == [[0, 1, 2], [2, 3, 4]]


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_area_keeps_a_flat_picture(before: tuple[int, int], after: tuple[int, int]) -> None:
    for level in (0, 1, 127, 255):
        image = torch.full((1, *before, 3), level, dtype=torch.uint8)
        assert torch.equal(AreaResize(before, after)(image), torch.full((1, *after, 3), level, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("size", "limits", "expected"),
    [
        ((256, 340), (65536, 16777216), (256, 352)),
        ((64, 64), (65536, 16777216), (256, 256)),
        ((100, 60), (1, 10**9), (96, 64)),
        ((400, 400), (1, 65536), (256, 256)),
        ((48, 80), (1, 10**9), (64, 64)),  # halves go to the even number: 1.5 and 2.5 tokens
    ],
)
def test_whole_image_tokens(size: tuple[int, int], limits: tuple[int, int], expected: tuple[int, int]) -> None:
    assert smart_resize(size, 32, limits) == expected


def test_too_thin() -> None:
    with pytest.raises(ValueError, match="a picture of 1 x 300 pixels is too thin"):
        smart_resize((1, 300), 32, (1, 10**9))


EDGE: dict[str, Any] = {"shortest_image_edge": 64, "crop_fraction": 0.95}
TARGET: dict[str, Any] = {"image_target_size": (64, 96), "image_crop_size": (57, 90)}


@pytest.mark.parametrize(
    ("recipe", "size", "expected"),
    [
        ({}, (50, 70), (50, 70)),
        (EDGE, (480, 640), (64, 85)),  # 64 x 85, cut to 60 x 80, to 64 x 85.3
        (EDGE, (640, 480), (85, 64)),
        (TARGET, (480, 640), (64, 96)),
        ({**TARGET, "use_albumentations": False}, (480, 640), (64, 96)),
        ({**EDGE, "letter_box_transform": True}, (40, 70), (64, 64)),
    ],
)
def test_geometry(recipe: dict[str, Any], size: tuple[int, int], expected: tuple[int, int]) -> None:
    steps, after = geometry(Recipe(**recipe), size)
    assert after == expected
    assert steps(noise(*size)).shape == (2, *expected, 3)


@pytest.mark.parametrize(
    ("size", "grid"), [((480, 640), (1, 16, 22)), ((256, 256), (1, 16, 16)), ((180, 320), (1, 16, 28))]
)
def test_the_public_checkpoints_recipe(size: tuple[int, int], grid: tuple[int, int, int]) -> None:
    """Shorter sides of 256 pixels, in patches of 16: 480 x 640 becomes 256 x 340 and then 256 x 352."""
    recipe = Recipe(
        image_target_size=(256, 256),
        image_crop_size=(230, 230),
        shortest_image_edge=256,
        crop_fraction=0.95,
        written=True,
    )
    patches = PicturePatches(recipe, size, patch=16, merge=2)
    assert patches.grid == grid and patches(noise(*size)).shape == (2, grid[1] * grid[2], 3, 256)


def test_the_centre_is_kept() -> None:
    """A white frame around a black centre of 0.5: the frame goes, and the letter box's black stays black."""
    image = torch.full((1, 64, 64, 3), 255, dtype=torch.uint8)
    image[:, 16:48, 16:48] = 0
    half: dict[str, Any] = {"image_target_size": (64, 64), "image_crop_size": (32, 32)}
    for kind in (True, False):
        steps, _ = geometry(Recipe(**half, use_albumentations=kind), (64, 64))
        assert not steps(image).any()
    steps, _ = geometry(Recipe(image_target_size=(64, 64), crop_fraction=1.0, letter_box_transform=True), (32, 64))
    boxed = steps(torch.full((1, 32, 64, 3), 255, dtype=torch.uint8))
    assert boxed[0, :, 0, 0].tolist() == [0] * 16 + [255] * 32 + [0] * 16


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"use_albumentations": False, "image_target_size": (64, 64)}, "image_crop_size None, but use_albumentations"),
        ({"shortest_image_edge": 64}, "crop_fraction is null, but image_crop_size or image_target_size too"),
        ({"crop_fraction": 1.5}, "crop_fraction is 1.5"),
        (
            {"image_crop_size": (60, 60)},
            "the checkpoint's config.json says image_crop_size is \\[60, 60\\], but .* are null: set one",
        ),
        (
            {"use_albumentations": False, "image_target_size": (64, 64), "image_crop_size": (65, 60)},
            "image_crop_size is \\[65, 60\\], which is larger than image_target_size \\[64, 64\\]",
        ),
    ],
)
def test_recipes_that_cannot_be(recipe: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        geometry(Recipe(**recipe), (60, 80))
    assert "\n" not in str(caught.value)


def test_order_of_patches() -> None:
    """Tokens row by row, the four patches of a token row by row, in a patch channel, frame, row, column."""
    patches = PicturePatches(Recipe(pixel_limits=(1, 10**9)), (8, 12), patch=2, merge=2)
    image = noise(8, 12)
    found = to_values(patches(image), frames=2)
    assert patches.grid == (1, 4, 6) and found.shape == (2, 24, 3 * 2 * 2 * 2)
    place = 0
    for token_row in range(2):
        for token_column in range(3):
            for row in range(2):
                for column in range(2):
                    top, left = 2 * (2 * token_row + row), 2 * (2 * token_column + column)
                    square = image[:, top : top + 2, left : left + 2].permute(0, 3, 1, 2).float() / 127.5 - 1
                    expected = square[:, :, None].expand(2, 3, 2, 2, 2).flatten(1)
                    torch.testing.assert_close(found[:, place], expected)
                    place += 1


def test_images_of_another_size() -> None:
    patches = PicturePatches(Recipe(pixel_limits=(1, 10**9)), (8, 12), patch=2, merge=2)
    with pytest.raises(ValueError, match="image is 8 x 8 pixels, the prompt was made for 8 x 12"):
        patches(noise(8, 8))
