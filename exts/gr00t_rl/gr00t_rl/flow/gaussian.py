# SPDX-License-Identifier: BSD-3-Clause
"""Log-probability, entropy and KL divergence of a chain of diagonal Gaussian transitions, in float32.

A chain has M stochastic transitions of shape [H, A]. Only the executed part of the chunk (``horizon`` steps) and the
embodiment's real action dimensions (``action_dim``) are counted: padding never reaches the robot.
"""

from __future__ import annotations

import math

import torch

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


def chain_log_prob(x_next: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Return log p of the stored transitions: the sum of log N(x_next; mean, std^2).

    Args:
        x_next: States reached, float32 [B, M, H, A].
        mean: Means, float32 [B, M, H, A].
        std: Standard deviations, broadcastable to ``mean``.

    Returns:
        [B] float32.
    """
    z = (x_next - mean) / std
    return (-0.5 * z.square() - torch.log(std).expand_as(z) - _LOG_SQRT_2PI).flatten(1).sum(-1)


def chain_entropy(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Return the entropy of the chain's Gaussians, sum of log(std) + (1 + log 2 pi) / 2, as [B] float32.

    Conditional on the visited states, the transitions are independent, so their entropies add up.
    """
    return (torch.log(std).expand_as(mean) + 0.5 + _LOG_SQRT_2PI).flatten(1).sum(-1)


def chain_kl(old_mean: torch.Tensor, old_std: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Return KL(old || new) between the transitions' Gaussians at the same visited states, as [B] float32."""
    variance_ratio = (old_std / std).square().expand_as(mean)
    kl = 0.5 * (variance_ratio + ((mean - old_mean) / std).square() - 1.0 - torch.log(variance_ratio))
    return kl.flatten(1).sum(-1)
