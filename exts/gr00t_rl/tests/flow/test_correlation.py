# SPDX-License-Identifier: BSD-3-Clause
"""Correlated noise against the multivariate normal that it is."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence
from torch.utils._python_dispatch import TorchDispatchMode

from gr00t_rl.flow import NoiseCorrelation, chain_entropy, chain_kl, chain_log_prob

H, A = 4, 3
STD = torch.tensor([0.5, 0.2, 1.5])


def covariance(rho: float, steps: int = H) -> torch.Tensor:
    """Of one action dimension's noise over the steps, with the variance 1."""
    return rho * torch.ones(steps, steps) + (1.0 - rho) * torch.eye(steps)


def joint(mean: torch.Tensor, rho: float) -> MultivariateNormal:
    """The distribution of a chunk [B, H, A] whose dimensions are independent of each other, as [B, A, H]."""
    return MultivariateNormal(mean.mT, covariance(rho, mean.shape[1]) * STD[:, None, None].square())


def innovations(correlation: NoiseCorrelation, mean: torch.Tensor, steps: int = H) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and standard deviations of the first steps' innovations, as chains of one transition [B, 1, h, A]."""
    y, std = correlation.innovations(mean[:, None]), correlation.innovation_std(STD.expand(1, 1, 1, A))
    return y[:, :, :steps], std.expand(-1, -1, H, -1)[:, :, :steps]


@pytest.mark.parametrize("steps", [1, 3, H])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.95])
def test_densities_are_those_of_the_multivariate_normal(rho, steps):
    """Of the whole chunk, and of the first steps alone, which is their marginal."""
    generator = torch.Generator().manual_seed(0)
    mean, other, x = (torch.randn(5, H, A, generator=generator) for _ in range(3))
    correlation = NoiseCorrelation(H, rho)
    y_mean, std = innovations(correlation, mean, steps)
    y_other, y = innovations(correlation, other, steps)[0], innovations(correlation, x, steps)[0]
    p, q = joint(mean[:, :steps], rho), joint(other[:, :steps], rho)
    torch.testing.assert_close(
        chain_log_prob(y, y_mean, std), p.log_prob(x[:, :steps].mT).sum(-1), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(chain_entropy(y_mean, std), p.entropy().sum(-1), rtol=1e-4, atol=1e-4)
    kl = chain_kl(y_mean, std.expand_as(y_mean), y_other, std)
    torch.testing.assert_close(kl, kl_divergence(p, q).sum(-1), rtol=1e-4, atol=1e-4)


def test_two_steps_by_hand():
    """rho = 0.6: L = [[1, 0], [0.6, 0.8]], so that the second innovation is x_2 - 0.6 x_1, with std 0.8."""
    correlation = NoiseCorrelation(2, 0.6)
    x = torch.tensor([[[2.0], [3.0]]])
    torch.testing.assert_close(correlation.correlate(x), torch.tensor([[[2.0], [3.6]]]))
    torch.testing.assert_close(correlation.innovations(x), torch.tensor([[[2.0], [1.8]]]))
    torch.testing.assert_close(correlation.innovation_std(torch.tensor([[[0.5]]])), torch.tensor([[[0.5], [0.4]]]))


@pytest.mark.parametrize("rho", [0.3, 0.9])
def test_drawn_noise_has_the_covariance(rho):
    """Exactly: the images of the unit vectors make up L, and L L^T is the covariance."""
    factor = NoiseCorrelation(H, rho).correlate(torch.eye(H))
    torch.testing.assert_close(factor @ factor.T, covariance(rho))
    ones = torch.ones(H)
    assert ones @ factor @ factor.T @ ones == pytest.approx(H * (1 + (H - 1) * rho))  # how far noise moves a robot


def test_without_correlation_nothing_is_computed():
    correlation, x = NoiseCorrelation(H), torch.randn(2, H, A)
    assert correlation.correlate(x) is x and correlation.innovations(x) is x and correlation.innovation_std(x) is x


@pytest.mark.parametrize("rho", [-0.1, 1.0])
def test_impossible_correlations_are_refused(rho):
    with pytest.raises(ValueError, match=r"rho is .*; set 0 or more, and less than 1"):
        NoiseCorrelation(H, rho)


class Products(TorchDispatchMode):
    """Types of the matrices that are multiplied."""

    def __init__(self):
        super().__init__()
        self.types: list[torch.dtype] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(name in str(func) for name in ("mm", "matmul", "mv")):
            self.types.append(args[0].dtype)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", ["correlate", "innovations"])
def test_a_likelihood_does_not_depend_on_how_a_gpu_multiplies_float32(method):
    """Isaac Lab's train allows TF32, of 10 bits."""
    correlation, x = NoiseCorrelation(8, 0.5), torch.randn(5, 2, 8, 3)
    with Products() as products:
        found = getattr(correlation, method)(x)
    assert products.types and set(products.types) == {torch.float64}
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), getattr(correlation, method)(x.double()), rtol=1e-6, atol=1e-7)
