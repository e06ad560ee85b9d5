# SPDX-License-Identifier: BSD-3-Clause
"""Normalisers against numbers worked out by hand from the release's formulas. The last dimension never varied."""

from __future__ import annotations

import pytest
import torch

from gr00t_rl.gr00t.normalise import MODES, SIN_COS, Normaliser, Part, denormalise, normalise

STATS = {
    "min": torch.tensor([0.0, -4.0, 3.0]),
    "max": torch.tensor([10.0, 2.0, 3.0]),
    "mean": torch.tensor([4.0, -1.0, 3.0]),
    "std": torch.tensor([2.0, 0.5, 0.0]),
    "q01": torch.tensor([1.0, -3.0, 3.0]),
    "q99": torch.tensor([9.0, 1.0, 3.0]),
}
X = torch.tensor([[2.5, -4.0, 3.0], [10.0, 0.5, 7.0]])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("min_max", [[-0.5, -1.0, 0.0], [1.0, 0.5, 0.0]]),
        ("q99", [[-0.625, -1.0, 1.0], [1.0, 0.75, 1.0]]),
        ("mean_std", [[-0.75, -6.0, 3.0], [3.0, 3.0, 7.0]]),
        ("scale", [[0.25, -1.0, 1.0], [1.0, 0.125, 7 / 3]]),
        ("binary", [[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]]),
    ],
)
def test_forward(mode, expected):
    torch.testing.assert_close(normalise(mode, X, STATS), torch.tensor(expected))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("min_max", [7.5, -2.5, 3.0]),
        ("q99", [7.0, -2.0, 3.0]),
        ("mean_std", [5.0, -1.25, 3.0]),
        ("scale", [5.0, -2.0, 0.75]),
        ("binary", [0.0, 0.0, 0.0]),
    ],
)
def test_inverse(mode, expected):
    y = torch.tensor([0.5, -0.5, 0.25])
    torch.testing.assert_close(denormalise(mode, y, STATS), torch.tensor(expected))


@pytest.mark.parametrize("mode", ["min_max", "q99", "mean_std", "scale"])
def test_inverse_undoes_forward(mode):
    x = torch.tensor([[3.0, -1.0, 3.0]])
    torch.testing.assert_close(denormalise(mode, normalise(mode, x, STATS), STATS), x)


def test_scale_of_zeros_is_zero():
    zeros = {"min": torch.zeros(1), "max": torch.zeros(1)}
    assert normalise("scale", torch.ones(1), zeros) == 0


@pytest.mark.parametrize("mode", sorted(set(MODES) - {"binary"}))
def test_gradient_is_finite_where_nothing_varied(mode):
    x = X.clone().requires_grad_()
    normalise(mode, x, STATS).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


def test_unknown_mode():
    with pytest.raises(ValueError, match="set one of min_max, q99, mean_std, scale, binary"):
        normalise("zscore", X, STATS)


# -- vectors of several keys -------------------------------------------------------------------------------------------


def test_normaliser_of_several_keys():
    """x = [a (min_max, 2) | b (unchanged, 1) | angle (sin/cos, 2) | c (mean_std, 1) | d (binary, 1)]"""
    parts = [
        Part(2, "min_max", {"min": torch.tensor([0.0, -4.0]), "max": torch.tensor([10.0, 2.0])}),
        Part(1, None, {}),
        Part(2, SIN_COS, {}),
        Part(1, "mean_std", {"mean": torch.tensor([4.0]), "std": torch.tensor([2.0])}),
        Part(1, "binary", {}),
    ]
    pi = torch.pi
    x = torch.tensor([[2.5, -4.0, 9.0, 0.0, pi / 2, 5.0, 0.7], [10.0, 0.5, -9.0, pi, -pi / 6, 0.0, 0.2]])
    expected = [
        [-0.5, -1.0, 9.0, 0.0, 1.0, 1.0, 0.0, 0.5, 1.0],
        [1.0, 0.5, -9.0, 0.0, -0.5, -1.0, 0.75**0.5, -2.0, 0.0],
    ]
    normaliser = Normaliser(parts)
    torch.testing.assert_close(normaliser(x), torch.tensor(expected), atol=1e-6, rtol=0)
    assert normaliser(x.expand(3, 2, 7)).shape == (3, 2, 9)
    with pytest.raises(ValueError, match="not turned back into angles"):
        normaliser.inverse(x)
    assert not normaliser.state_dict()  # the checkpoint's metadata holds the statistics


def test_normaliser_inverse():
    parts = [Part(1, None, {}), Part(2, "q99", {"q01": torch.tensor([1.0, -3.0]), "q99": torch.tensor([9.0, 1.0])})]
    y = torch.tensor([[5.0, 0.5, -0.5]])
    assert Normaliser(parts).inverse(y).tolist() == [[5.0, 7.0, -2.0]]
    with pytest.raises(ValueError, match="mode is 'max'"):
        Normaliser([Part(1, "max", {})])


def test_normaliser_that_has_nothing_to_do_returns_its_argument():
    x = torch.randn(2, 3)
    normaliser = Normaliser([Part(1, None, {}), Part(2, None, {})])
    assert normaliser(x) is x and normaliser.inverse(x) is x
