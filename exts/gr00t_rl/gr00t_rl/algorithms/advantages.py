# SPDX-License-Identifier: BSD-3-Clause
"""Advantages of episodes relative to their group, and the statistics that tell whether a group teaches anything."""

from __future__ import annotations

import torch

ESTIMATORS = ("grpo", "dr_grpo", "rloo")
ZERO_STD = 1e-6
"""Spread of returns below which a group is said to have none; float32 sums of equal rewards may differ by less."""


def group_advantages(returns: torch.Tensor, estimator: str = "grpo", eps: float = 1e-4) -> torch.Tensor:
    """Return how much better each episode was than the others of its group.

    Args:
        returns: R, float32 [G, S], one row per group of S episodes.
        estimator: "grpo": (R - mean) / (std + eps) with the group's unbiased standard deviation (Shao et al., arXiv
            2402.03300); "dr_grpo": R - mean, which gives starts of little variance no extra weight (Liu et al., arXiv
            2503.20783); "rloo": R less the mean of the others, S / (S - 1) times R - mean (Ahmadian et al., arXiv
            2402.14740).
        eps: Added to the standard deviation.

    Returns:
        Advantages [G, S]; they sum to 0 in each group.
    """
    centred = returns - returns.mean(dim=1, keepdim=True)
    if estimator == "grpo":
        return centred / (returns.std(dim=1, keepdim=True) + eps)
    if estimator == "rloo":
        size = returns.shape[1]
        return centred * size / (size - 1)
    if estimator == "dr_grpo":
        return centred
    raise ValueError(f"estimator is {estimator!r}; set one of {', '.join(ESTIMATORS)}")


def informative_groups(returns: torch.Tensor) -> torch.Tensor:
    """Return which groups have episodes of different returns, bool [G], for returns [G, S]."""
    return returns.std(dim=1) > ZERO_STD


def return_diversity(returns: torch.Tensor) -> torch.Tensor:
    """Return the share of the returns' variance that lies within groups, a scalar in [0, 1].

    At 1 all starts are equally hard and only the policy's own noise tells episodes apart; at 0 the start alone decides,
    and a group has nothing to learn from. 0 too where no return differs from another.

    Args:
        returns: R, float32 [G, S].
    """
    within = returns.var(dim=1, unbiased=False).mean()
    total = returns.var(unbiased=False)
    return torch.where(total > ZERO_STD**2, within / total.clamp_min(ZERO_STD**2), torch.zeros_like(total))


def episode_weights(episode: torch.Tensor, num_episodes: int) -> torch.Tensor:
    """Return weights of decisions under which every episode counts alike, however many decisions it took.

    The mean over decisions of weight times loss is then the mean over episodes of the mean over their decisions.

    Args:
        episode: Number of the episode of each decision, int64 [B].
        num_episodes: One more than the largest of them may be.

    Returns:
        float32 [B], of mean 1.
    """
    counts = torch.bincount(episode, minlength=num_episodes)
    present = (counts > 0).sum()
    return len(episode) / (present * counts[episode].float())
