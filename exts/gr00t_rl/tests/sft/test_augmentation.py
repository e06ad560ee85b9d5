# SPDX-License-Identifier: BSD-3-Clause
"""Crops and colours: against Python's own colour conversions, in their ranges, alike for all cameras."""

from __future__ import annotations

import colorsys

import pytest
import torch

from gr00t_rl.sft import augmentation
from gr00t_rl.sft.augmentation import Augmentation, brightened, contrasted, cropped, saturated, turned


@pytest.mark.parametrize("amount", [-0.5, -0.08, 0.0, 0.03, 0.4])
def test_hues_are_turned_as_colorsys_turns_them(amount):
    colours = torch.rand(200, 3, generator=torch.Generator().manual_seed(0))
    colours = torch.cat((colours, torch.eye(3), 1 - torch.eye(3), torch.tensor([[0.0] * 3, [0.4] * 3, [1.0] * 3])))
    hsv = [colorsys.rgb_to_hsv(*colour) for colour in colours.tolist()]
    expected = torch.tensor([colorsys.hsv_to_rgb((h + amount) % 1, s, v) for h, s, v in hsv])
    assert torch.allclose(turned(colours, amount), expected, atol=1e-5)


def test_brightness_contrast_and_saturation_by_hand():
    x = torch.tensor([[[0.2, 0.4, 0.8], [1.0, 1.0, 1.0]]])
    grey = 0.2989 * 0.2 + 0.587 * 0.4 + 0.114 * 0.8
    mean = (grey + 0.9999) / 2
    assert torch.allclose(brightened(x, 0.3)[0, 0], torch.tensor([0.26, 0.52, 1.0]))
    expected = torch.tensor([mean + 0.6 * (value - mean) for value in (0.2, 0.4, 0.8)])
    assert torch.allclose(contrasted(x, -0.4)[0, 0], expected, atol=1e-6)
    expected = torch.tensor([grey + 0.5 * (value - grey) for value in (0.2, 0.4, 0.8)])
    assert torch.allclose(saturated(x, -0.5)[0, 0], expected, atol=1e-6)


def test_a_crop_is_a_window_that_reaches_every_place():
    picture = torch.arange(40 * 60).view(40, 60, 1).expand(-1, -1, 3)
    first, last = cropped(picture, (0.0, 0.0), 0.95), cropped(picture, (0.999, 0.999), 0.95)
    assert first.shape == last.shape == (38, 57, 3)
    assert torch.equal(first, picture[:38, :57]) and torch.equal(last, picture[2:, 3:])
    assert torch.equal(cropped(picture, (0.999, 0.999), 1.0), picture)


def test_cameras_of_a_sample_are_changed_alike_and_samples_are_not(monkeypatch):
    view = torch.randint(0, 256, (6, 20, 40, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    first = Augmentation()([view, view])
    torch.manual_seed(0)
    again = Augmentation()([view, view])
    assert first[0].shape == (6, 19, 38, 3) and first[0].dtype == torch.uint8
    assert torch.equal(first[0], first[1]) and torch.equal(first[0], again[0])
    same = Augmentation()([view[:1].expand(6, -1, -1, -1)])[0]
    assert len({tuple(picture.flatten().tolist()) for picture in same}) == 6
    for name in ("BRIGHTNESS", "CONTRAST", "SATURATION", "HUE"):
        monkeypatch.setattr(augmentation, name, 0.0)
    plain = Augmentation(crop=1.0)([view])[0]
    assert (plain.int() - view.int()).abs().max() <= 1
