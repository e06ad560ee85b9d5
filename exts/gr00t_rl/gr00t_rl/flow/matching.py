# SPDX-License-Identifier: BSD-3-Clause
"""Supervised flow matching as GR00T is trained: the time distribution and the loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.distributions import Beta


def time_of(b: torch.Tensor, scale: float = 0.999, from_zero: bool = False) -> torch.Tensor:
    """Return the training times of draws ``b`` in [0, 1], of the same shape.

    Args:
        b: Draws.
        scale: ``noise_s`` of a checkpoint's config, s.
        from_zero: t = (1 - b) s, as N1.7 is trained; otherwise t = (s - b) / s, N1.5's.
    """
    return (1.0 - b) * scale if from_zero else (scale - b) / scale


def sample_time(
    shape: tuple[int, ...],
    device: str | torch.device = "cpu",
    alpha: float = 1.5,
    beta: float = 1.0,
    scale: float = 0.999,
    from_zero: bool = False,
) -> torch.Tensor:
    """Draw training times, :func:`time_of` b ~ Beta(alpha, beta): more of them near the noise end.

    Args:
        shape: Shape of the result.
        device: Device of the result.
        alpha: ``noise_beta_alpha`` of a checkpoint's config, as the next two the released one's by default.
        beta: ``noise_beta_beta``.
        scale: ``noise_s``.
        from_zero: See :func:`time_of`.

    Returns:
        float32 times in [1 - 1 / s, 1], with s = 0.999 from -0.001 on; in [0, s] with ``from_zero``.
    """
    one = torch.ones((), device=device)
    return time_of(Beta(alpha * one, beta * one).sample(shape), scale, from_zero)


def time_bucket(t: torch.Tensor, num_buckets: int = 1000) -> torch.Tensor:
    """Return the timestep bucket of times ``t``, int64 of the same shape: t * num_buckets, its fraction cut off."""
    return (t * num_buckets).long()


def flow_matching_loss(
    velocity: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    actions: torch.Tensor,
    mask: torch.Tensor | None = None,
    noise: torch.Tensor | None = None,
    t: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the mean of (v(x_t, t) - (action - noise))^2 at x_t = (1 - t) noise + t action, a scalar.

    Args:
        velocity: v(x, t) with x float32 [B, H, A] and t float32 [B], to [B, H, A].
        actions: Normalised action chunks, float32 [B, H, A].
        mask: What counts of them, broadcastable to ``actions``; all where None.
        noise: x at t = 0, [B, H, A]; drawn from N(0, 1) where None.
        t: Times [B]; drawn by :func:`sample_time` where None.
    """
    if noise is None:
        noise = torch.randn_like(actions)
    if t is None:
        t = sample_time((actions.shape[0],), actions.device)
    weight = t[:, None, None]
    error = (velocity((1.0 - weight) * noise + weight * actions, t) - (actions - noise)).square()
    if mask is None:
        return error.mean()
    counted = mask.to(error.dtype).expand_as(error)
    return (error * counted).sum() / counted.sum().clamp_min(1.0)
