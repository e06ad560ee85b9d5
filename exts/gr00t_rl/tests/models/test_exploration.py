# SPDX-License-Identifier: BSD-3-Clause
"""What exploration does in the robot's units, of N1.7's relative actions; N1.5's are in test_modality.py."""

from __future__ import annotations

import torch

from gr00t_rl.flow import FlowSde
from gr00t_rl.gr00t.modality import ActionKey, Modality, StateKey, Statistics
from gr00t_rl.gr00t.n1d7.config import Gr00tN1d7Config
from gr00t_rl.gr00t.n1d7.processor import Gr00tN1d7Processor
from gr00t_rl.gr00t.n1d7.prompt import tiny_tokenizer
from gr00t_rl.models.exploration import describe_noise

CONFIG = Gr00tN1d7Config.tiny()
STEPS = CONFIG.action_head.action_horizon


def line_of(modality: Modality, statistics: Statistics) -> str:
    processor = Gr00tN1d7Processor(
        CONFIG, tiny_tokenizer(CONFIG), num_views=0, modality=modality, statistics=statistics
    )
    line = describe_noise(FlowSde(4, 1.0, "one"), processor)
    assert line is not None
    return line


def test_the_steps_of_a_chunk_have_ranges_of_their_own() -> None:
    """Joints relative to the state: 2 in the first step and 4 in the others, times 0.2887."""
    modality = Modality("robot", {}, {"arm": StateKey("policy", 0, 1)}, {"arm": ActionKey(0, 1, relative_to="arm")})
    low = torch.full((STEPS, 1), -4.0)
    low[0] = -2.0
    ends = {"min": low[0], "max": -low[0]}
    assert "arm 0.58 to 1.2;" in line_of(modality, Statistics({"arm": ends}, {}, {"arm": {"min": low, "max": -low}}))


def test_poses_are_left_out() -> None:
    """None of their numbers moves alone."""
    state = {"hand": StateKey("policy", 0, 9), "grip": StateKey("policy", 9, 10)}
    action = {"hand": ActionKey(0, 9, relative_to="hand", pose="xyz+rot6d"), "grip": ActionKey(9, 10)}

    def ends(dim: int) -> dict[str, torch.Tensor]:
        return {"min": torch.full((dim,), -1.0), "max": torch.ones(dim)}

    known = Statistics({"hand": ends(9), "grip": ends(1)}, {"grip": ends(1)}, {"hand": ends(9)})
    line = line_of(Modality("robot", {}, state, action), known)
    assert "(std): grip 0.29;" in line and "hand" not in line
