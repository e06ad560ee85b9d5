# SPDX-License-Identifier: BSD-3-Clause
"""Spread and gradients of few-step chains, where both can be written down."""

from __future__ import annotations

import pytest
import torch
from flow_statistics import Counted, cosine, divergence, gradients, spread
from torch import nn

from gr00t_rl.flow import FlowSde


class CoupledField(nn.Module):
    """v = M x + b on two numbers, of which only the first is executed; the second decides much of it."""

    def __init__(self, coupling: float) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor([[-0.5, coupling], [0.3, -0.5]]))
        self.bias = nn.Parameter(torch.tensor([0.2, -0.1]))

    def forward(self, x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        return x @ self.matrix.T + self.bias


FIRST = Counted(1, 1)


def test_counted_is_the_executed_part():
    x = torch.arange(12.0).view(1, 3, 4)
    assert Counted(2, 3).of(x).tolist() == [[[0.0, 1.0, 2.0], [4.0, 5.0, 6.0]]]
    assert Counted(2, 3).of(torch.ones(5, 1, 1)).shape == (5, 1, 1)


def test_spread_of_one_step_by_hand():
    """K = 1 and v = 0: x stays for the ODE. The SDE gives w0 x + w1 x + a eps = (1 - a^2 / 2) x + a eps."""
    torch.manual_seed(0)
    x0 = torch.randn(40_000, 1, 1)
    of_all, median = spread(FlowSde(1, 0.8, "all"), lambda x, k: torch.zeros_like(x), x0, Counted(1, 1), 4)
    expected = (0.68**2 + 0.8**2) ** 0.5
    assert of_all == pytest.approx(expected, rel=0.02) and median == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(("coupling", "exact"), [(0.0, True), (3.0, False)])
def test_executed_is_exact_without_feedback_only(coupling, exact):
    """The whole chain's likelihood gives the true direction; a part of it does where nothing else feeds back."""
    torch.manual_seed(0)
    field, rows = CoupledField(coupling), []
    for _ in range(8):
        x0 = torch.randn(4 * 4096, 1, 2)
        rows.append(gradients(FlowSde(4, 1.0, "all"), field, x0, torch.ones(4, 1, 1), [*field.parameters()], FIRST))
    true, chain, executed = (torch.stack(column) for column in zip(*rows, strict=True))
    for found, same in ((chain, True), (executed, exact)):
        value, error = cosine(true, found)
        assert error < 0.02
        assert (abs(value - 1.0) < 0.03) == same, value


def test_cosine_of_noisy_estimates():
    """Of vectors at 60 degrees, from parts whose noise is as long as they are."""
    torch.manual_seed(0)
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 3**0.5 / 2])
    noise = 0.7 * torch.randn(2, 150, 2)
    value, error = cosine(a + noise[0], b + noise[1])
    assert error < 0.1 and value == pytest.approx(0.5, abs=4 * error)


def test_one_step_shows_a_share_of_the_divergence():
    """A shift of the velocity is the same in all steps: one of them, on average, has a quarter of the chain's KL."""
    torch.manual_seed(0)
    field = CoupledField(0.0)

    def change(sign: float) -> None:
        field.bias.data.add_(0.05 * sign)

    found = []
    for steps in ("one", "all"):
        found.append(divergence(FlowSde(4, 1.0, steps), field, torch.randn(50_000, 1, 2), FIRST, change))
    assert found[0] / found[1] == pytest.approx(0.25, rel=0.03)
    assert field.bias.tolist() == pytest.approx([0.2, -0.1])
