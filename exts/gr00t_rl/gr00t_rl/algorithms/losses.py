# SPDX-License-Identifier: BSD-3-Clause
"""The losses of PPO, per sample, in the symbols of the paper (Schulman et al., arXiv 1707.06347)."""

from __future__ import annotations

import torch


def clipped_surrogate(ratio: torch.Tensor, advantage: torch.Tensor, clip: float) -> torch.Tensor:
    """Return -min(r A, clip(r, 1 - eps, 1 + eps) A), eq. 7, as a loss per sample [B]."""
    return -torch.min(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)


def value_loss(
    value: torch.Tensor, target: torch.Tensor, old_value: torch.Tensor, clip: float | None = None
) -> torch.Tensor:
    """Return (V - R)^2 per sample [B]; with ``clip``, the larger of it and the loss of the clipped value.

    Args:
        value: V under the current critic, [B].
        target: Returns R, [B].
        old_value: V at collection, [B].
        clip: Half-width of the trust region around ``old_value``, or None for the plain squared error.
    """
    squared_error = (value - target).square()
    if clip is None:
        return squared_error
    clipped = old_value + (value - old_value).clamp(-clip, clip)
    return torch.max(squared_error, (clipped - target).square())


def approx_kl(log_ratio: torch.Tensor) -> torch.Tensor:
    """Return the k3 estimate (r - 1) - log r of KL(old || new) per sample (joschu.net/blog/kl-approx.html)."""
    return torch.expm1(log_ratio) - log_ratio


def explained_variance(value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return 1 - Var[R - V] / Var[R], a scalar; 0 where the returns do not vary."""
    variance = target.var()
    return torch.where(variance > 0, 1.0 - (target - value).var() / variance, torch.zeros_like(variance))
