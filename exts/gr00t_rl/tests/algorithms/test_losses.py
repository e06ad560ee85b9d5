# SPDX-License-Identifier: BSD-3-Clause
"""The losses of PPO by hand, at and beyond the edges of the clipping range."""

from __future__ import annotations

import math

import pytest
import torch

from gr00t_rl.algorithms.losses import approx_kl, clipped_surrogate, probability_ratio, value_loss


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.0, 2.0, -2.0, -2.0),  # inside: -r A
        (1.1, 2.0, -2.2, -2.0),
        (1.5, 2.0, -2.4, 0.0),  # good, already much likelier: clipped at 1.2
        (0.5, 2.0, -1.0, -2.0),  # good, but less likely: pulled back, unclipped
        (1.0, -2.0, 2.0, 2.0),
        (0.5, -2.0, 1.6, 0.0),  # bad, already much less likely: clipped at 0.8
        (1.5, -2.0, 3.0, 2.0),  # bad, but likelier: pushed down, unclipped
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_clipped_surrogate_and_its_gradient(ratio, advantage, loss, gradient):
    r = torch.tensor([ratio], requires_grad=True)
    found = clipped_surrogate(r, torch.tensor([advantage]), 0.2)
    found.sum().backward()
    assert found.item() == pytest.approx(loss)
    assert r.grad is not None
    assert r.grad.item() == pytest.approx(gradient)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"), [(1.5, 1.0, -1.3), (0.5, -1.0, 0.8), (0.85, -1.0, 0.85), (1.25, 1.0, -1.25)]
)
def test_asymmetric_clipping(ratio, advantage, loss):
    """Range [0.8, 1.3]."""
    found = clipped_surrogate(torch.tensor([ratio]), torch.tensor([advantage]), 0.2, 0.3)
    assert found.item() == pytest.approx(loss)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"), [(10.0, -1.0, 3.0), (2.0, -1.0, 2.0), (10.0, 1.0, -1.2), (0.1, -1.0, 0.8)]
)
def test_dual_clip_bounds_the_loss_of_bad_actions(ratio, advantage, loss):
    """c = 3: with A < 0 the loss never exceeds 3 |A|; A > 0 is left alone."""
    found = clipped_surrogate(torch.tensor([ratio]), torch.tensor([advantage]), 0.2, dual_clip=3.0)
    assert found.item() == pytest.approx(loss)


def test_value_loss_is_the_squared_error():
    found = value_loss(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 0.0]), torch.zeros(2))
    assert found.tolist() == [1.0, 9.0]


@pytest.mark.parametrize(
    ("value", "target", "loss", "gradient"),
    [
        (1.1, 2.0, 0.81, -1.8),  # within 0.2 of the old value 1: plain
        (1.5, 2.0, 0.64, 0.0),  # moved past 1.2: the loss at 1.2 is larger, and flat
        (0.5, 2.0, 2.25, -3.0),  # moved away from the target: the plain loss is larger
        (1.5, 0.0, 2.25, 3.0),
        (0.5, 0.0, 0.64, 0.0),
    ],
)
def test_clipped_value_loss_and_its_gradient(value, target, loss, gradient):
    v = torch.tensor([value], requires_grad=True)
    found = value_loss(v, torch.tensor([target]), torch.tensor([1.0]), clip=0.2)
    found.sum().backward()
    assert found.item() == pytest.approx(loss)
    assert v.grad is not None
    assert v.grad.item() == pytest.approx(gradient)


@pytest.mark.parametrize(("error", "loss"), [(0.5, 0.25), (-0.5, 0.25), (1.0, 1.0), (3.0, 5.0), (-3.0, 5.0)])
def test_huber_is_quadratic_then_linear(error, loss):
    """Twice Huber's loss with delta 1: e^2, then 2 |e| - 1; value and slope agree at the joint."""
    found = value_loss(torch.tensor([error]), torch.zeros(1), torch.zeros(1), huber_delta=1.0)
    assert found.item() == pytest.approx(loss)


def test_k3_by_hand():
    """(r - 1) - log r: 1 - log 2 at r = 2, log 2 - 1/2 at r = 1/2, exactly 0 at r = 1."""
    log_ratio = torch.tensor([2.0, 0.5, 1.0]).log()
    expected = [1 - math.log(2), math.log(2) - 0.5, 0.0]
    assert approx_kl(log_ratio).tolist() == pytest.approx(expected, abs=1e-7)


def test_k3_is_accurate_for_tiny_steps():
    """About log_ratio^2 / 2, which (exp(l) - 1) - l in float32 would lose."""
    assert approx_kl(torch.tensor([2.0**-10])).item() == pytest.approx(2.0**-21, rel=1e-2)


@pytest.mark.parametrize(
    ("log_ratio", "advantage", "loss", "gradient"),
    [
        (89.0, 2.0, -2.4, 0.0),  # e^89 overflows float32; clipped at 1.2
        (1e4, 2.0, -2.4, 0.0),
        (-89.0, 2.0, 0.0, 0.0),
        (-89.0, -2.0, 1.6, 0.0),  # clipped at 0.8
        (89.0, 0.0, 0.0, 0.0),
        (89.0, -2.0, 2.0 * math.exp(20.0), 0.0),  # bad and far too likely: counted, but it does not take the step over
        (19.0, -2.0, 2.0 * math.exp(19.0), 2.0 * math.exp(19.0)),
        (0.1, 2.0, -2.0 * math.exp(0.1), -2.0 * math.exp(0.1)),
    ],
)
def test_loss_and_gradient_stay_finite_for_any_log_ratio(log_ratio, advantage, loss, gradient):
    x = torch.tensor([log_ratio], requires_grad=True)
    found = clipped_surrogate(probability_ratio(x), torch.tensor([advantage]), 0.2)
    found.sum().backward()
    assert x.grad is not None
    assert found.item() == pytest.approx(loss, rel=1e-5, abs=1e-6)
    assert x.grad.item() == pytest.approx(gradient, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("broken", [math.inf, math.nan])
def test_broken_log_ratio_is_not_hidden(broken):
    x = torch.tensor([broken], requires_grad=True)
    clipped_surrogate(probability_ratio(x), torch.tensor([1.0]), 0.2).sum().backward()
    assert x.grad is not None and x.grad.isnan().all()


def test_k3_is_finite():
    """e^20 - 21 at and beyond the bound; below, -1 - log r."""
    found = approx_kl(torch.tensor([20.0, 89.0, 1e4, -300.0]))
    assert found.tolist() == pytest.approx([math.exp(20) - 21.0] * 3 + [299.0])
