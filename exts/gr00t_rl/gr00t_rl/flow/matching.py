# SPDX-License-Identifier: BSD-3-Clause
"""Supervised flow matching as GR00T N1.5 is trained: the time distribution and the loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.distributions import Beta

TIME_SCALE = 0.999
"""The s of the time distribution."""


def sample_time(shape: tuple[int, ...], device: str | torch.device = "cpu") -> torch.Tensor:
    """Draw training times t = (s - b) / s with b ~ Beta(1.5, 1), s = 0.999: more of them near the noise end.

    Args:
        shape: Shape of the result.
        device: Device of the result.

    Returns:
        float32 times in [-0.001, 1].
    """
    one = torch.ones((), device=device)
    return (TIME_SCALE - Beta(1.5 * one, one).sample(shape)) / TIME_SCALE


def flow_matching_loss(
    velocity: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    actions: torch.Tensor,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the mean of (v(x_t, t) - (action - noise))^2 at x_t = (1 - t) noise + t action, a scalar.

    Args:
        velocity: v(x, t) with x float32 [B, H, A] and t float32 [B], to [B, H, A].
        actions: Normalised action chunks, float32 [B, H, A].
        mask: What counts of them, broadcastable to ``actions``; all where None.
    """
    noise, t = torch.randn_like(actions), sample_time((actions.shape[0],), actions.device)
    weight = t[:, None, None]
    error = (velocity((1.0 - weight) * noise + weight * actions, t) - (actions - noise)).square()
    if mask is None:
        return error.mean()
    counted = mask.to(error.dtype).expand_as(error)
    return (error * counted).sum() / counted.sum().clamp_min(1.0)
