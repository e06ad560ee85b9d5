# SPDX-License-Identifier: BSD-3-Clause
"""Advantages of episodes relative to their group, and the statistics that tell whether a group teaches anything."""

from __future__ import annotations

import torch

from ..options.algorithm import ESTIMATORS

ZERO_STD = 1e-6
"""Spread of returns below which a group is said to have none; float32 sums of equal rewards may differ by less."""


def group_advantages(
    returns: torch.Tensor, estimator: str = "grpo", eps: float = 1e-4, good: torch.Tensor | None = None
) -> torch.Tensor:
    """Return how much better each episode was than the others of its group.

    Args:
        returns: R, float32 [G, S], one row per group of S episodes.
        estimator: "grpo": (R - mean) / (std + eps) with the group's unbiased standard deviation (Shao et al., arXiv
            2402.03300); "dr_grpo": R - mean, which gives starts of little variance no extra weight (Liu et al., arXiv
            2503.20783); "rloo": R less the mean of the others, S / (S - 1) times R - mean (Ahmadian et al., arXiv
            2402.14740).
        eps: Added to the standard deviation.
        good: Episodes that are compared, bool [G, S]; None for all. The others are as if they were not there.

    Returns:
        Advantages [G, S]; they sum to 0 in each group, and are 0 where not ``good`` or alone in a group.
    """
    centred, size = _centred(returns, good)
    if estimator == "grpo":
        std = (centred.square().sum(1, keepdim=True) / (size - 1).clamp_min(1)).sqrt()
        return centred / (std + eps)
    if estimator == "rloo":
        return centred * size / (size - 1).clamp_min(1)
    if estimator == "dr_grpo":
        return centred
    raise ValueError(f"estimator is {estimator!r}; set one of {', '.join(ESTIMATORS)}")


def decision_advantages(
    to_go: torch.Tensor, valid: torch.Tensor, group_size: int, estimator: str = "grpo", eps: float = 1e-4
) -> torch.Tensor:
    """Return how much better each decision was followed up than the others of its group at the same time.

    The baseline of decision d is the mean of the rewards to go of those episodes of the group that still run then: what
    happened before d is no longer counted for or against it ("process supervision" in Shao et al., arXiv 2402.03300,
    section 4.1.3, here with the sum of rewards from d on, less a baseline that knows start and time).

    Args:
        to_go: Discounted rewards from decision d on, float32 [D, N], groups of ``group_size`` neighbouring envs.
        valid: Slots that hold a decision, bool [D, N].
        group_size: Episodes S per group.
        estimator: As in :func:`group_advantages`: "grpo" divides by the group's standard deviation, that of all its
            decisions together; "dr_grpo" does not; "rloo" takes the mean of the others alone.
        eps: Added to the standard deviation.

    Returns:
        Advantages [D, N]; 0 in empty slots and where an episode is the last of its group that runs.
    """
    shape = (to_go.shape[0], -1, group_size)
    values, present = to_go.view(shape), valid.view(shape).float()
    running = present.sum(-1, keepdim=True)  # [D, G, 1]
    mean = (values * present).sum(-1, keepdim=True) / running.clamp_min(1.0)
    centred = (values - mean) * present
    if estimator == "grpo":
        variance = centred.square().sum((0, 2), keepdim=True) / (present.sum((0, 2), keepdim=True) - 1.0).clamp_min(1.0)
        centred = centred / (variance.sqrt() + eps)
    elif estimator == "rloo":
        centred = centred * running / (running - 1.0).clamp_min(1.0)
    elif estimator != "dr_grpo":
        raise ValueError(f"estimator is {estimator!r}; set one of {', '.join(ESTIMATORS)}")
    return centred.view_as(to_go)


def informative_groups(returns: torch.Tensor, good: torch.Tensor | None = None) -> torch.Tensor:
    """Return which groups have ``good`` episodes of different returns, bool [G], for returns [G, S]."""
    centred, size = _centred(returns, good)
    return (centred.square().sum(1) / (size.squeeze(1) - 1).clamp_min(1)).sqrt() > ZERO_STD


def return_diversity(returns: torch.Tensor, good: torch.Tensor | None = None) -> torch.Tensor:
    """Return the share of the returns' variance that lies within groups, a scalar in [0, 1].

    At 1 all starts are equally hard and only the policy's own noise tells episodes apart; at 0 the start alone decides,
    and a group has nothing to learn from. 0 too where no return differs from another.

    Args:
        returns: R, float32 [G, S].
        good: Episodes that are counted, bool [G, S]; None for all.
    """
    (centred, size), (overall, _) = _centred(returns, good), _centred(returns.view(1, -1), good)
    number = size.sum().clamp_min(1)
    within, total = centred.square().sum() / number, overall.square().sum() / number
    return torch.where(total > ZERO_STD**2, within / total.clamp_min(ZERO_STD**2), torch.zeros_like(total))


def _centred(returns: torch.Tensor, good: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return by what good episodes differ from their group's mean, 0 for others, [G, S], and their number [G, 1]."""
    good = torch.ones_like(returns, dtype=torch.bool) if good is None else good.view_as(returns)
    size = good.sum(1, keepdim=True)
    mean = returns.where(good, 0.0).sum(1, keepdim=True) / size.clamp_min(1)
    return (returns - mean).where(good, 0.0), size


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
