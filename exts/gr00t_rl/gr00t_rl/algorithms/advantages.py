# SPDX-License-Identifier: BSD-3-Clause
"""Advantages of episodes relative to their group, and the statistics that tell whether a group teaches anything."""

from __future__ import annotations

import torch

from ..options.algorithm import ESTIMATORS

ZERO_SPREAD = 1e-6
"""Spread below which numbers count as equal, as a share of the absolute rewards they are sums of: float32 rounds."""


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


def informative_groups(
    values: torch.Tensor, valid: torch.Tensor, magnitude: torch.Tensor, group_size: int
) -> torch.Tensor:
    """Return which groups teach something: those in which some decision did better than others at the same time.

    Judged by what the credit compares, so that a reward near the end of a long episode counts for the decisions before
    it, however little of it a discount leaves at the start.

    Args:
        values: What decisions are judged by, float32 [D, N]: rewards to go, or with D = 1 the return of each episode.
        valid: Slots that are compared, bool [D, N].
        magnitude: Discounted sum of absolute rewards behind ``values``, the largest of each episode, float32 [N].
        group_size: Episodes per group, G groups.

    Returns:
        bool [G].
    """
    apart = decision_advantages(values, valid, group_size, "dr_grpo").abs().amax(0)
    scale = magnitude.view(-1, group_size).amax(1)
    return apart.view(-1, group_size).amax(1) > ZERO_SPREAD * scale


def squared_deviations(returns: torch.Tensor, good: torch.Tensor | None = None) -> torch.Tensor:
    """Return (R - mean)^2 of each episode with the mean of its group's good ones, [G, S], for returns [G, S].

    0 where returns differ by rounding only, and where an episode is not ``good``.
    """
    squares = _centred(returns, good)[0].square()
    return torch.where(squares > (ZERO_SPREAD * returns).square().amax(1, keepdim=True), squares, 0.0)


def _centred(returns: torch.Tensor, good: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return by what good episodes differ from their group's mean, 0 for others, [G, S], and their number [G, 1]."""
    good = torch.ones_like(returns, dtype=torch.bool) if good is None else good.view_as(returns)
    size = good.sum(1, keepdim=True)
    mean = returns.where(good, 0.0).sum(1, keepdim=True) / size.clamp_min(1)
    return (returns - mean).where(good, 0.0), size


def episode_weights(
    episode: torch.Tensor, num_episodes: int, mean_length: torch.Tensor | float | None = None
) -> torch.Tensor:
    """Return weights of decisions under which every episode counts alike, however many decisions it took.

    The mean over decisions of weight times loss is then the mean over episodes of the mean over their decisions.

    Args:
        episode: Number of the episode of each decision, int64 [B].
        num_episodes: One more than the largest of them may be.
        mean_length: Mean number of decisions of an episode, a scalar, where others than these count too (other ranks').

    Returns:
        float32 [B], of mean 1 over all decisions that count.
    """
    counts = torch.zeros(num_episodes, dtype=torch.long, device=episode.device)
    counts.scatter_add_(0, episode, torch.ones_like(episode))  # bincount would wait for a GPU
    mean = len(episode) / (counts > 0).sum() if mean_length is None else mean_length
    return mean / counts[episode].float()
