# SPDX-License-Identifier: BSD-3-Clause
"""Log-probability, entropy and KL divergence of a chain against torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from gr00t_rl.flow import chain_entropy, chain_kl, chain_log_prob

SHAPE = (3, 2, 4, 5)  # B, M, H, A
STD_SHAPES = [(3, 2, 4, 5), (3, 2, 1, 1), (1, 1, 1, 5)]  # of an expanded std, of Flow-SDE's, of the Gaussian head's


def sample(std_shape: tuple[int, ...], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(SHAPE, dtype=torch.float64, generator=generator)
    return mean, 0.1 + torch.rand(std_shape, dtype=torch.float64, generator=generator)


def test_one_number_by_hand():
    """N(1.5; 1, 0.25^2): z = 2, log p = -2 - log 0.25 - log sqrt(2 pi)."""
    x, mean, std = (torch.full((1, 1, 1, 1), value) for value in (1.5, 1.0, 0.25))
    expected = -2.0 + math.log(4.0) - 0.5 * math.log(2.0 * math.pi)
    assert chain_log_prob(x, mean, std).tolist() == pytest.approx([expected])


@pytest.mark.parametrize("std_shape", STD_SHAPES)
def test_log_prob_is_the_sum_over_all_numbers(std_shape):
    mean, std = sample(std_shape)
    x = mean + torch.randn_like(mean)
    torch.testing.assert_close(chain_log_prob(x, mean, std), Normal(mean, std).log_prob(x).sum((1, 2, 3)))


@pytest.mark.parametrize("std_shape", STD_SHAPES)
def test_entropy(std_shape):
    mean, std = sample(std_shape)
    torch.testing.assert_close(chain_entropy(mean, std), Normal(mean, std).entropy().sum((1, 2, 3)))


@pytest.mark.parametrize("old_shape", STD_SHAPES)
@pytest.mark.parametrize("new_shape", STD_SHAPES)
def test_kl_of_old_from_new(old_shape, new_shape):
    old_mean, old_std = sample(old_shape)
    mean, std = sample(new_shape, seed=1)
    expected = kl_divergence(Normal(old_mean, old_std.expand(SHAPE)), Normal(mean, std.expand(SHAPE)))
    torch.testing.assert_close(chain_kl(old_mean, old_std, mean, std), expected.sum((1, 2, 3)))


def test_kl_by_hand():
    """KL(N(0, 1) || N(1, 2^2)) = log 2 + (1 + 1) / 8 - 1/2; the other direction differs."""
    zero, one, two = (torch.full((1, 1, 1, 1), value) for value in (0.0, 1.0, 2.0))
    assert chain_kl(zero, one, one, two).item() == pytest.approx(math.log(2.0) - 0.25)
    assert chain_kl(one, two, zero, one).item() == pytest.approx(-math.log(2.0) + 5 / 2 - 0.5)
