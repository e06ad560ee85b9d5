# SPDX-License-Identifier: BSD-3-Clause
"""N1.7's normalisation against its formulas in float64, over modes, clipping, constant numbers and steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gr00t_rl.gr00t.n1d7.scaling import ScaledKey, Scaler
from gr00t_rl.gr00t.normalise import SIN_COS

LOW, HIGH = [-2.0, 0.5, 3.0], [2.0, 0.5, 5.0]  # the second number never varied
NAMES = {"min_max": ("min", "max"), "q99": ("q01", "q99"), "mean_std": ("mean", "std")}


def key(mode: str, clip: bool, steps: int = 0) -> ScaledKey:
    """Three numbers; with steps, those of step h are h wider on both sides, but for the constant one."""
    first, second = np.array(LOW), np.array(HIGH)
    if mode == "mean_std":
        first, second = np.array([1.0, 2.0, -1.0]), np.array([0.5, 0.0, 4.0])
    if steps:
        grown = np.arange(steps)[:, None] * np.array([1.0, 0.0, 1.0])
        first, second = first - grown, second + grown
    stats = dict(zip(NAMES[mode], (torch.tensor(first).float(), torch.tensor(second).float()), strict=True))
    return ScaledKey(3, mode, stats, clip)


def release(mode: str, clip: bool, x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The published formula, number by number."""
    out = np.empty_like(x)
    for place in np.ndindex(x.shape):
        step = place[-2:] if a.ndim == 2 else place[-1:]
        if mode == "mean_std":
            y = (x[place] - a[step]) / b[step] if b[step] else x[place]
        else:
            y = 2 * (x[place] - a[step]) / (b[step] - a[step]) - 1 if not math.isclose(a[step], b[step]) else 0.0
        out[place] = min(max(y, -1.0), 1.0) if clip else y
    return out


@pytest.mark.parametrize("mode", NAMES)
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("steps", [0, 4])
def test_against_the_formula(mode: str, clip: bool, steps: int) -> None:
    part = key(mode, clip, steps)
    x = torch.randn(6, 4, 3) * 4
    a, b = (part.stats[name].double().numpy() for name in NAMES[mode])
    scaler = Scaler([part], 4)
    expected = torch.from_numpy(release(mode, clip, x.double().numpy(), a, b)).float()
    torch.testing.assert_close(scaler(x), expected, rtol=1e-6, atol=1e-6)
    if clip:
        assert scaler(x).abs().max() == 1


@pytest.mark.parametrize("mode", NAMES)
@pytest.mark.parametrize("steps", [0, 4])
def test_there_and_back(mode: str, steps: int) -> None:
    """Raw numbers of the data come back, constant ones too; from the network's side only what lies in [-1, 1] does."""
    scaler = Scaler([key(mode, True, steps)], 4)
    x = torch.rand(6, 4, 3) * torch.tensor([4.0, 0.0, 2.0]) + torch.tensor(LOW)
    if mode == "mean_std":
        x = torch.tensor([1.0, 2.0, -1.0]) + (torch.rand(6, 4, 3) - 0.5) * torch.tensor([0.9, 0.0, 7.0])
        x[..., 1] = 0.25
    torch.testing.assert_close(scaler.inverse(scaler(x)), x, rtol=0, atol=1e-6)
    y = torch.full((1, 4, 3), 3.0)
    back = scaler.inverse(y)
    if mode == "mean_std":
        assert back[0, 0].tolist() == [2.5, 3.0, 11.0]  # 3 deviations, which nothing clips
    else:
        assert back[0, 0].tolist() == HIGH


def test_by_hand() -> None:
    keys = [key("min_max", True), key("mean_std", False), ScaledKey(2, SIN_COS, {}, True), ScaledKey(1, None, {}, True)]
    x = torch.tensor([[9.0, 7.0, 3.5, 2.0, 7.0, 3.0, 0.0, math.pi / 2, 8.0]])
    expected = [[1.0, 0.0, -0.5, 2.0, 7.0, 1.0, 0.0, 1.0, 1.0, 0.0, 8.0]]
    torch.testing.assert_close(Scaler(keys)(x), torch.tensor(expected), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="not turned back into angles"):
        Scaler(keys).inverse(x)


def test_steps_beyond_the_statistics_and_fewer_of_them() -> None:
    """Statistics of two steps for a chunk of four: the last ones hold on; a chunk cut short reads the first ones."""
    scaler = Scaler(
        [key("min_max", False, 2), ScaledKey(1, "min_max", {"min": torch.zeros(1), "max": torch.ones(1)})], 4
    )
    ends = scaler.inverse(torch.ones(1, 4, 4))[0]
    assert ends[:, 0].tolist() == [2.0, 3.0, 3.0, 3.0] and ends[:, 3].tolist() == [1.0] * 4
    assert torch.equal(scaler.inverse(torch.ones(1, 3, 4))[0], ends[:3])


def test_almost_constant_is_constant() -> None:
    """numpy's isclose: 1e-5 of the smaller end, and 1e-8."""
    stats = {"min": torch.tensor([1.0, 1.0, 0.0]), "max": torch.tensor([1.000005, 1.00002, 1e-9])}
    found = Scaler([ScaledKey(3, "min_max", stats)])(torch.tensor([[1.000005, 1.00002, 1e-9]]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 1.0, 0.0]]), rtol=0, atol=1e-2)
