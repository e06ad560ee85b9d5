# SPDX-License-Identifier: BSD-3-Clause
"""Noise that is alike at all steps of a chunk: exploration that a robot can feel, with its likelihood in closed form.

Independent noise at each of n steps moves a robot by sqrt(n) sigma in all, since most of it cancels; one and the same
noise moves it by n sigma. That correlated noise explores further is known for single actions (Eberhard et al., "Pink
noise is all you need", ICLR 2023); here it is drawn within a chunk, where the policy's own density can say so.

The noise of a transition is e = L z with z ~ N(0, I) and the equicorrelated covariance of the chunk's steps,
S = L L^T, S_ij = rho + (1 - rho) [i = j]: every step keeps its variance. With U = L diag(L)^-1, which has ones on its
diagonal and so the determinant 1, y = U^-1 x has independent noise of standard deviation L_ii, and the density of x is
that of y. Likelihood, entropy and KL of correlated noise are therefore those of diagonal Gaussians of these
*innovations*: what of a step the steps before it do not tell. U is lower triangular, so that the first n innovations
are those of the chunk's first n steps alone, and what counts executed steps only is their exact marginal.
"""

from __future__ import annotations

import torch
from torch import nn


class NoiseCorrelation(nn.Module):
    """Correlates noise along a chunk's steps, and tells its innovations.

    Args:
        horizon: Steps H of a chunk.
        rho: Correlation between the noise of any two of them, 0 <= rho < 1.
    """

    _factor: torch.Tensor
    _inverse: torch.Tensor
    _scale: torch.Tensor

    def __init__(self, horizon: int, rho: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= rho < 1.0:
            raise ValueError(f"rho is {rho}; set 0 or more, and less than 1")
        self.rho = rho
        covariance = rho + (1.0 - rho) * torch.eye(horizon, dtype=torch.float64)
        factor = torch.linalg.cholesky(covariance)
        scale = factor.diagonal().clone()  # a buffer of its own, not a part of the factor's
        identity = torch.eye(horizon, dtype=torch.float64)
        inverse = torch.linalg.solve_triangular(factor / scale, identity, upper=False, unitriangular=True)
        for name, value in (("_factor", factor), ("_inverse", inverse), ("_scale", scale[:, None])):
            self.register_buffer(name, value, persistent=False)

    def correlate(self, noise: torch.Tensor) -> torch.Tensor:
        """Return L z of independent noise z [..., H, A]: each number keeps its variance."""
        return noise if self.rho == 0.0 else _product(self._factor, noise)

    def innovations(self, x: torch.Tensor) -> torch.Tensor:
        """Return y = U^-1 x of states or means [..., H, A]."""
        return x if self.rho == 0.0 else _product(self._inverse, x)

    def innovation_std(self, std: torch.Tensor) -> torch.Tensor:
        """Return the standard deviations of the innovations, [..., H, A] or broadcastable to it.

        Args:
            std: Of the noise, the same at all steps of the chunk: [..., 1, A] or [..., 1, 1] where rho > 0.
        """
        return std if self.rho == 0.0 else std * self._scale.to(std.dtype)


def _product(matrix: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """``matrix`` [H, H] times x [..., H, A], in x's type.

    Computed in float64: Isaac Lab's train lets a GPU multiply float32 matrices with 10 bits (TF32), and a likelihood
    needs more.
    """
    return (matrix.double() @ x.double()).to(x.dtype)
