# SPDX-License-Identifier: BSD-3-Clause
"""What is reported of the episodes of groups."""

import torch

from gr00t_rl.algorithms.episodes import FirstEpisodes
from gr00t_rl.algorithms.group_metrics import tally_endings
from gr00t_rl.algorithms.ranks import Tally


def test_endings_of_first_episodes_are_told_apart():
    """One succeeds, one runs out of time, one fails, one succeeds as its time is up; how second ones end is nothing."""
    episodes, ends = FirstEpisodes(4, 1.0, "cpu"), torch.ones(4)
    time_outs = torch.tensor([0.0, 1.0, 0.0, 1.0])  # rsl_rl's own envs report floats
    episodes.step(ends, ends, torch.tensor([True, False, False, True]), time_outs=time_outs)
    episodes.step(ends, ends, torch.ones(4).bool(), time_outs=ends)
    for reported in (True, False):
        tally = Tally("cpu")
        tally_endings(tally, episodes, reported, [])
        rates = {name: moments.mean for name, moments in tally.exchange()[1].items()}
        assert rates == ({"success": 0.5, "failure": 0.25, "time_out": 0.25} if reported else {"success": 0.5})
    episodes.begin()
    assert not episodes.timed_out.any()
