# SPDX-License-Identifier: BSD-3-Clause
"""Spread and gradients of few-step chains, where both can be written down."""

from __future__ import annotations

import pytest
import torch
from flow_statistics import Counted, cosine, divergence, gradients, spread
from torch import nn

from gr00t_rl.flow import FlowSde, Transitions, chain_log_prob


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


def of(name: str, coupling: float, steps: str = "all") -> tuple[torch.Tensor, torch.Tensor]:
    """Return the true gradient and another by :func:`gradients`, of the mean of the first number."""
    torch.manual_seed(0)
    field, x0 = CoupledField(coupling), torch.randn(20_000, 1, 2)
    found = gradients(FlowSde(4, 1.0, steps), field, x0, torch.ones(20_000, 1, 1), [*field.parameters()], FIRST)
    return found["true"], found[name]


def test_whole_chains_likelihood_gives_the_true_gradient():
    true, found = of("chain", 3.0)
    torch.testing.assert_close(found, true)
    _, of_one = of("chain", 3.0, "one")
    assert not torch.allclose(of_one, true, rtol=0.1)  # of one of four steps


@pytest.mark.parametrize(("coupling", "low", "high"), [(0.0, 0.999, 1.001), (3.0, 0.0, 0.97)])
def test_executed_is_exact_without_feedback_only(coupling, low, high):
    """Where the number that is not executed feeds back, the direction is another one."""
    value, _ = cosine(*(x[None].expand(2, -1) for x in of("executed", coupling)))
    assert low < value < high


@pytest.mark.parametrize("steps", ["one", "all"])
@pytest.mark.parametrize("name", ["chain", "executed"])
def test_gradient_is_that_of_the_score(name, steps):
    """E[(f - mean) grad log p] with the head's own sampling and scoring, within four standard errors."""
    _, expected = of(name, 2.0, steps)
    field, head = CoupledField(2.0), FlowSde(4, 1.0, steps)
    parts = []
    for _ in range(20):
        sample = head.sample(field, torch.randn(20_000, 1, 2))
        fixed = Transitions(*(part.detach() for part in sample.transitions))
        f = FIRST.of(sample.actions).flatten().detach()
        mean, std = head.distribution(field, fixed)
        count = FIRST.of if name == "executed" else lambda x: x
        log_prob = chain_log_prob(count(fixed.x_next), count(mean), count(std))
        gradient = torch.autograd.grad(((f - f.mean()) * log_prob).mean(), [*field.parameters()])
        parts.append(torch.cat([g.flatten() for g in gradient]))
    stacked = torch.stack(parts)
    error = stacked.std(0) / 20**0.5
    assert ((stacked.mean(0) - expected).abs() <= 4.0 * error + 0.02 * expected.abs()).all()
    assert expected.norm() > 10.0 * error.norm()


def test_cosine():
    """Of vectors at 60 degrees; equal parts leave no error."""
    a, b = torch.tensor([1.0, 0.0]).expand(3, 2), torch.tensor([0.5, 3**0.5 / 2]).expand(3, 2)
    value, error = cosine(a, b)
    assert value == pytest.approx(0.5) and error == pytest.approx(0.0, abs=1e-6)


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
