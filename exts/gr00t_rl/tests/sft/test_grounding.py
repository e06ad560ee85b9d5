# SPDX-License-Identifier: BSD-3-Clause
"""Grounding by hand: its units, its attention, and what it adds to the loss."""

from __future__ import annotations

import pytest
import torch

from gr00t_rl.sft.grounding import Grounding

TARGET = torch.tensor([[1.0, 5.0], [3.0, 5.0], [1.0, 5.0], [3.0, 5.0]])


def make(weight: float = 1.0) -> Grounding:
    torch.manual_seed(0)
    return Grounding(TARGET, feature_dim=3, state_dim=2, weight=weight, num_queries=2, hidden_dim=4)


def test_targets_share_a_unit():
    """Deviations of 1 and 0 have the mean square 1/2: the unit is its root, and what is constant stays 0."""
    grounding = make()
    assert grounding.unit == pytest.approx(0.5**0.5)
    root = 2**0.5
    torch.testing.assert_close(grounding.target, torch.tensor([[-root, 0.0], [root, 0.0]]).repeat(2, 1))


def test_a_guess_costs_the_variance():
    """Told nothing (a readout of zeros), the errors are the squared targets, 1 on average."""
    grounding = make()
    for parameter in grounding.readout.parameters():
        torch.nn.init.zeros_(parameter)
    frames = torch.arange(4)
    errors, known = grounding.errors(frames, torch.randn(4, 5, 3), torch.zeros(4, 1, 2))
    torch.testing.assert_close(errors, torch.tensor([[2.0, 0.0]]).expand(4, -1))
    assert known.all()


def test_what_a_dataset_does_not_say_is_not_told():
    """NaN is left out of the means (2 and 5), the unit, the errors and the gradient."""
    torch.manual_seed(0)
    nan = torch.nan
    target = torch.tensor([[1.0, nan], [3.0, 4.0], [nan, 6.0]])
    grounding = Grounding(target, feature_dim=3, state_dim=2, weight=1.0, num_queries=2, hidden_dim=4)
    assert grounding.unit == pytest.approx(1.0)
    errors, known = grounding.errors(torch.arange(3), torch.randn(3, 5, 3), torch.zeros(3, 1, 2))
    assert known.tolist() == [[True, False], [True, True], [False, True]]
    assert errors[~known].tolist() == [0.0, 0.0] and (errors[known] > 0).all()
    errors.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in grounding.parameters())


def test_attention_by_hand():
    """Each query takes the softmax-weighted mean of the tokens, padding left out; state stands beside it."""
    grounding = make()
    grounding.readout = torch.nn.Sequential(torch.nn.Identity())
    with torch.no_grad():
        grounding.queries.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    features = torch.tensor([[[0.0, 1.0, 2.0], [1.0, 3.0, 0.0], [9.0, 9.0, 9.0]]])
    found = grounding(features, torch.tensor([[[7.0, 8.0]]]), torch.tensor([[True, True, False]]))
    e = torch.tensor(1.0).exp()
    first = (features[0, 0] + e * features[0, 1]) / (1 + e)
    second = (features[0, 0] + features[0, 1]) / 2
    torch.testing.assert_close(found, torch.cat((first, second, torch.tensor([7.0, 8.0])))[None])
