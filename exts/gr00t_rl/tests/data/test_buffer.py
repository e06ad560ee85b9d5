# SPDX-License-Identifier: BSD-3-Clause
"""Episodes of batched envs, cut out where they end."""

import pytest
import torch

from gr00t_rl.data import EpisodeBuffer


def test_episodes_are_cut_out_of_a_batch():
    """Two envs count their steps; env 0 ends after 2 and 1 steps, env 1 after 3."""
    buffer = EpisodeBuffer(2, 3)
    ends = [(False, False), (True, False), (True, True)]
    found = []
    for step, done in enumerate(ends):
        picture = torch.full((2, 1, 1), step, dtype=torch.uint8)
        buffer.record({"state": torch.tensor([[step], [10 + step]]), "picture": picture})
        buffer.amend("reward", torch.tensor([0.5, -0.5]) * step)
        found += [
            (env, v["state"].flatten().tolist(), v["reward"].tolist()) for env, v in buffer.cut(torch.tensor(done))
        ]
    assert found == [(0, [0, 1], [0.0, 0.5]), (0, [2], [1.0]), (1, [10, 11, 12], [0.0, -0.5, -1.0])]


def test_what_was_cut_out_stays_when_the_env_goes_on():
    buffer = EpisodeBuffer(1, 2)
    value = torch.tensor([[1.0]])
    buffer.record({"x": value})
    value.fill_(9.0)  # envs reuse their buffers
    ((_, first),) = buffer.cut(torch.tensor([True]))
    buffer.record({"x": torch.tensor([[2.0]])})
    assert first["x"].tolist() == [[1.0]]


def test_clear_forgets_and_too_long_an_episode_is_an_error():
    buffer = EpisodeBuffer(1, 1)
    buffer.record({"x": torch.zeros(1)})
    buffer.clear()
    buffer.record({"x": torch.ones(1)})
    with pytest.raises(IndexError):
        buffer.record({"x": torch.ones(1)})
