# SPDX-License-Identifier: BSD-3-Clause
"""The losses of PPO, per sample, in the symbols of the paper (Schulman et al., arXiv 1707.06347)."""

from __future__ import annotations

import torch

MAX_LOG_RATIO = 20.0
"""Log-ratio beyond which a sample no longer moves the policy; e^20 is 5e8, e^89 overflows float32."""


def probability_ratio(log_ratio: torch.Tensor) -> torch.Tensor:
    """Return r = exp(log r) per sample [B], at most exp(:data:`MAX_LOG_RATIO`), with gradient 0 beyond.

    An infinite ratio would make 0 * inf = NaN of a clipped sample's gradient and cost its whole minibatch. Where A > 0
    such an r is clipped, and its gradient is 0 already. With A < 0 a gradient is lost that is 5e8 times that of other
    samples: under ``max_grad_norm`` it would be all that is left of the step. A log-ratio that is itself not finite
    stays so, for the guard to see.
    """
    beyond = (log_ratio > MAX_LOG_RATIO) & log_ratio.isfinite()
    return torch.where(beyond, MAX_LOG_RATIO, log_ratio).exp()


def clipped_surrogate(
    ratio: torch.Tensor,
    advantage: torch.Tensor,
    clip_low: float,
    clip_high: float | None = None,
    dual_clip: float | None = None,
) -> torch.Tensor:
    """Return -min(r A, clip(r, 1 - eps_low, 1 + eps_high) A), eq. 7, as a loss per sample [B].

    Args:
        ratio: Probability ratio r, [B].
        advantage: A, [B].
        clip_low: eps_low.
        clip_high: eps_high, the paper's eps where None (asymmetric clipping: DAPO, arXiv 2503.14476).
        dual_clip: Bound c > 1 of the loss where A < 0: max(min(r A, clip(r) A), c A) (Ye et al., arXiv 1912.09729).
    """
    high = clip_low if clip_high is None else clip_high
    objective = torch.min(ratio * advantage, ratio.clamp(1.0 - clip_low, 1.0 + high) * advantage)
    if dual_clip is not None:
        objective = torch.where(advantage < 0, torch.max(objective, dual_clip * advantage), objective)
    return -objective


def value_loss(
    value: torch.Tensor,
    target: torch.Tensor,
    old_value: torch.Tensor,
    clip: float | None = None,
    huber_delta: float | None = None,
) -> torch.Tensor:
    """Return (V - R)^2 per sample [B]; with ``clip``, the larger of it and the loss of the clipped value.

    Args:
        value: V under the current critic, [B].
        target: Returns R, [B].
        old_value: V at collection, [B].
        clip: Half-width of the trust region around ``old_value``, or None for no clipping.
        huber_delta: Error beyond which the loss grows linearly, or None for the squared error.
    """
    loss = _error_loss(value - target, huber_delta)
    if clip is None:
        return loss
    clipped = old_value + (value - old_value).clamp(-clip, clip)
    return torch.max(loss, _error_loss(clipped - target, huber_delta))


def _error_loss(error: torch.Tensor, huber_delta: float | None) -> torch.Tensor:
    """Squared error, or twice Huber's loss, which is the squared error up to ``huber_delta``."""
    if huber_delta is None:
        return error.square()
    size = error.abs()
    return torch.where(size <= huber_delta, error.square(), huber_delta * (2.0 * size - huber_delta))


def approx_kl(log_ratio: torch.Tensor) -> torch.Tensor:
    """Return the k3 estimate (r - 1) - log r of KL(old || new) per sample (joschu.net/blog/kl-approx.html).

    Finite: r counts as e^20 at most, see :func:`probability_ratio`.
    """
    return torch.expm1(log_ratio.clamp(max=MAX_LOG_RATIO)) - log_ratio.clamp(max=MAX_LOG_RATIO)
