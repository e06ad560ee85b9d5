# SPDX-License-Identifier: BSD-3-Clause
"""Episodes of batched envs, cut out where they end."""

import pytest
import torch
from fake_gpu import CUDA, fake_gpu

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


def test_episodes_lie_in_host_memory():
    """Pictures of whole episodes do not stay with a simulator's on its GPU."""
    with fake_gpu({"data/buffer.py:amend:copy": None}) as syncs:
        buffer = EpisodeBuffer(2, 3)
        buffer.record({"picture": torch.zeros(2, 4, 4, 3, dtype=torch.uint8, device=CUDA)})
        assert syncs.take() == {"data/buffer.py:amend:copy": 1}, "one copy of one step"
        kept = buffer._values["picture"]
        assert kept.device.type == "cpu" and kept.dtype == torch.uint8 and kept.nbytes == 3 * 2 * 4 * 4 * 3


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
