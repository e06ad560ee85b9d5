# SPDX-License-Identifier: BSD-3-Clause
"""Advantage estimation and normalisation."""

from __future__ import annotations

import torch
import torch.distributed as dist


def semi_mdp_gae(
    rewards: torch.Tensor,
    values: torch.Tensor,
    discounts: torch.Tensor,
    valid: torch.Tensor,
    last_values: torch.Tensor,
    lam: float,
    discarded: torch.Tensor | None = None,
) -> torch.Tensor:
    """Generalised advantage estimation over decisions of variable duration.

    With R_d the discounted reward of decision d, g_d = gamma^k its discount (0 at an episode's end) and V_d its
    value: delta_d = R_d + g_d V_{d+1} - V_d and A_d = delta_d + g_d lambda A_{d+1} (Schulman et al., 2016, with the
    options' discount of Sutton et al., 1999; lambda decays per decision). After an env's last decision comes the
    value ``last_values`` of the state at the iteration's end.

    Args:
        rewards: R_d, [D, N]; time-outs already bootstrapped.
        values: V_d, [D, N].
        discounts: g_d, [D, N].
        valid: Slots that hold a decision, bool [D, N]; an env's slots are filled from 0 without gaps.
        last_values: Value of the state at the iteration's end, [N].
        lam: The lambda of GAE.
        discarded: Decisions that are left out, bool [D, N]: the one before is bootstrapped with the value where they
            began, and nothing that came later counts for it. None if there are none.

    Returns:
        Advantages [D, N]; 0 in empty slots, of no meaning where ``discarded``.
    """
    advantages = torch.zeros_like(rewards)
    next_value, next_advantage = last_values, torch.zeros_like(last_values)
    for d in reversed(range(rewards.shape[0])):
        delta = rewards[d] + discounts[d] * next_value - values[d]
        advantage = delta + discounts[d] * lam * next_advantage
        # an empty slot passes the env's end-of-iteration value on to its last decision
        next_value = torch.where(valid[d], values[d], next_value)
        next_advantage = torch.where(valid[d], advantage, next_advantage)
        if discarded is not None:
            next_advantage = next_advantage.masked_fill(discarded[d], 0.0)
        advantages[d] = torch.where(valid[d], advantage, advantages[d])
    return advantages


def normalize(x: torch.Tensor, eps: float = 1e-8) -> torch.Tensor:
    """Return (x - mean) / (std + eps) with the moments over all finite elements of all ranks.

    What is not finite stays so, and spoils no more than the minibatch that it is in.

    Args:
        x: Advantages, any shape.
        eps: Added to the (unbiased) standard deviation.
    """
    wide = x.double()  # in float32 the difference of large sums below would lose the variance
    counted = wide.where(wide.isfinite(), 0.0)
    moments = torch.stack((wide.isfinite().sum().double(), counted.sum(), counted.square().sum()))
    if dist.is_initialized():
        dist.all_reduce(moments)
    count, mean = moments[0], moments[1] / moments[0]
    std = ((moments[2] - count * mean.square()) / (count - 1).clamp_min(1)).clamp_min(0).sqrt()
    return ((wide - mean) / (std + eps)).to(x.dtype)
