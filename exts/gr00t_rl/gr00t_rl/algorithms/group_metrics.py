# SPDX-License-Identifier: BSD-3-Clause
"""Metrics of a group-relative iteration: its episodes, and whether their groups taught anything."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..utils.instructions import SUCCESS_RATE_TAG
from .advantages import squared_deviations
from .episodes import FirstEpisodes
from .ranks import Moments, Tally


def tally_episodes(
    tally: Tally,
    episodes: FirstEpisodes,
    judged: torch.Tensor,
    informative: torch.Tensor,
    num_steps: int,
    reports_success: bool,
    tasks: Sequence[str] = (),
) -> None:
    """Add what the metrics are made of, without episodes that a bad env spoilt.

    Args:
        tally: Exchanged over ranks afterwards.
        episodes: One per env.
        judged: What they are judged by, float32 [G, S].
        informative: Groups that teach something, bool [G].
        num_steps: Env steps of the iteration.
        reports_success: Whether the env says which episodes succeeded.
        tasks: Names of the tasks that the env's instructions ask for, where it has several.
    """
    good = ~episodes.spoiled
    tally.add("informative", informative)
    tally.add("within_groups", squared_deviations(judged, good.view_as(judged)).view(-1)[good])
    tally.add("judged", judged.view(-1)[good])
    tally.add("return", episodes.rewards[good])
    tally.add("length", episodes.lengths[good])
    tally.add("used", episodes.lengths / num_steps)
    if reports_success:
        tally.add("success", episodes.success[good])
        for number, name in enumerate(tasks):
            tally.add(f"success/{name}", episodes.success[good & (episodes.instruction == number)])


def describe_episodes(moments: dict[str, Moments]) -> dict[str, float]:
    """Return the metrics by tag, from what :func:`tally_episodes` and the advantages added on all ranks."""
    of_return, judged, advantage = moments["return"], moments["judged"], moments["advantage"]
    metrics = {
        "frac_zero_std": 1.0 - moments["informative"].mean,
        # share of the returns' variance that lies within groups: at 1 all starts are equally hard and the policy's
        # own noise tells episodes apart; at 0 the start alone decides, and a group has nothing to learn from
        "return_diversity": moments["within_groups"].mean / judged.variance if judged.variance > 0 else 0.0,
        "return_mean": of_return.mean,
        "return_std": of_return.std,
        "return_min": of_return.low,
        "return_max": of_return.high,
        "advantage_mean": advantage.mean,
        "advantage_std": advantage.std,
        "grpo/mean_reward": judged.mean,
        "grpo/reward_std": judged.std,
        "charts/episodic_return": of_return.mean,
        "charts/episodic_length": moments["length"].mean,
        "charts/used_steps": moments["used"].mean,
    }
    for name in moments:
        if name == "success" or name.startswith("success/"):
            metrics[SUCCESS_RATE_TAG + name.removeprefix("success")] = moments[name].mean
    return metrics
