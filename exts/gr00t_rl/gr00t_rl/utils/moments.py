# SPDX-License-Identifier: BSD-3-Clause
"""Running moments, and the normalisation of rewards by the spread of the discounted return."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn


class RunningMoments(nn.Module):
    """Count, mean and variance of all samples seen so far, merged batch by batch and over ranks.

    Batches are merged as in Chan, Golub & LeVeque (1979), the batched form of Welford's update: the result is that of
    one pass over all samples, up to rounding. Accumulated in float64, since a long run's count would swallow small
    changes in float32.

    Args:
        shape: Shape of one sample.
    """

    count: torch.Tensor
    mean: torch.Tensor
    m2: torch.Tensor

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("m2", torch.zeros(shape, dtype=torch.float64))

    @property
    def variance(self) -> torch.Tensor:
        """Population variance, float64; 1 before the second sample."""
        return torch.where(self.count > 1, self.m2 / self.count.clamp(min=1), torch.ones_like(self.m2))

    def update(self, batch: torch.Tensor) -> None:
        """Add samples [B, *shape]; with a process group, those of all ranks."""
        batch = batch.double()
        count = torch.full_like(self.count, float(batch.shape[0]))
        total = batch.sum(0)
        if dist.is_initialized():
            packed = torch.cat((count.view(1), total.flatten()))
            dist.all_reduce(packed)
            count, total = packed[0], packed[1:].view_as(total)
        mean = total / count.clamp(min=1)
        m2 = (batch - mean).square().sum(0)
        if dist.is_initialized():
            dist.all_reduce(m2)
        delta, merged = mean - self.mean, (self.count + count).clamp(min=1)  # a batch may be empty
        self.mean += delta * count / merged
        self.m2 += m2 + delta.square() * self.count * count / merged
        self.count += count


class RewardScaler(nn.Module):
    """Divides rewards by the running standard deviation of the discounted return, and clips them.

    The return is accumulated per env, R <- gamma R + r, and restarts at episode ends (OpenAI baselines'
    ``VecNormalize``; details 30 and 31 of "The 37 implementation details of PPO"). Only the scale changes, not the
    mean, so that the sign of rewards is kept.

    Args:
        num_envs: Number of envs N.
        gamma: Discount per env step.
        clip: Bound of the scaled reward.
    """

    returns: torch.Tensor

    def __init__(self, num_envs: int, gamma: float, clip: float = 10.0) -> None:
        super().__init__()
        self.gamma, self.clip = gamma, clip
        self.moments = RunningMoments()
        self.register_buffer("returns", torch.zeros(num_envs))

    def forward(self, rewards: torch.Tensor, dones: torch.Tensor, left_out: torch.Tensor | None = None) -> torch.Tensor:
        """Return the scaled rewards [N] of one env step, and update the moments unless in eval mode.

        Args:
            rewards: Rewards [N].
            dones: Episode ends [N].
            left_out: Envs whose returns the moments do not see, bool [N]; None if there are none.
        """
        if self.training:
            self.returns.mul_(self.gamma).add_(rewards)
            self.moments.update(self.returns if left_out is None else self.returns[~left_out])
            self.returns.masked_fill_(dones.bool(), 0.0)
        scale = torch.rsqrt(self.moments.variance + 1e-8).to(rewards.dtype)
        return (rewards * scale).clamp(-self.clip, self.clip)
