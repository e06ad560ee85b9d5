# SPDX-License-Identifier: BSD-3-Clause
"""Metrics of a group-relative iteration: its episodes, and whether their groups taught anything."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..utils.instructions import FAILURE_RATE_TAG, SUCCESS_RATE_TAG, TIME_OUT_RATE_TAG
from .advantages import squared_deviations
from .episodes import FirstEpisodes
from .ranks import Moments, Tally


def tally_episodes(
    tally: Tally,
    episodes: FirstEpisodes,
    judged: torch.Tensor,
    informative: torch.Tensor,
    num_steps: int,
) -> None:
    """Add what the metrics are made of, without episodes that a bad env spoilt.

    Args:
        tally: Exchanged over ranks afterwards.
        episodes: One per env.
        judged: What they are judged by, float32 [G, S].
        informative: Groups that teach something, bool [G].
        num_steps: Env steps of the iteration.
    """
    good = ~episodes.spoiled
    tally.add("informative", informative)
    tally.add("within_groups", squared_deviations(judged, good.view_as(judged)).view(-1)[good])
    tally.add("judged", judged.view(-1)[good])
    tally.add("return", episodes.rewards[good])
    tally.add("length", episodes.lengths[good])
    tally.add("used", episodes.lengths / num_steps)


def tally_endings(tally: Tally, episodes: FirstEpisodes, reports_time_outs: bool, tasks: Sequence[str]) -> None:
    """Add how the episodes ended, without those that a bad env spoilt, for an env that says which succeeded.

    Args:
        tally: Exchanged over ranks afterwards.
        episodes: One per env.
        reports_time_outs: Whether the env says, too, which ran out of time.
        tasks: Names of the tasks that the env's instructions ask for, where it has several.
    """
    good = ~episodes.spoiled
    tally.add("success", episodes.success[good])
    if reports_time_outs:
        tally.add("time_out", (episodes.timed_out & ~episodes.success)[good])
        tally.add("failure", ~(episodes.timed_out | episodes.success)[good])
    for number, name in enumerate(tasks):
        tally.add(f"success/{name}", episodes.success[good & (episodes.instruction == number)])


def describe_episodes(moments: dict[str, Moments]) -> dict[str, float]:
    """Return the metrics by tag, from what the functions above and the advantages added on all ranks."""
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
    for name, tag in (("failure", FAILURE_RATE_TAG), ("time_out", TIME_OUT_RATE_TAG)):
        if name in moments:
            metrics[tag] = moments[name].mean
    return metrics
