# SPDX-License-Identifier: BSD-3-Clause
"""Running moments and the scaling of rewards, against one pass over all samples."""

from __future__ import annotations

import pytest
import torch

from gr00t_rl.utils.moments import RewardScaler, RunningMoments


def test_merged_batches_equal_one_pass():
    """Batches of different size, with a mean far from zero."""
    samples = 1000.0 + torch.randn(50, 3, dtype=torch.float64)
    moments = RunningMoments((3,))
    for part in samples.split([1, 7, 30, 12]):
        moments.update(part)
    assert moments.count == 50
    torch.testing.assert_close(moments.mean, samples.mean(0))
    torch.testing.assert_close(moments.variance, samples.var(0, correction=0))


def test_variance_is_one_before_the_second_sample():
    moments = RunningMoments()
    assert moments.variance == 1.0
    moments.update(torch.tensor([5.0]))
    assert moments.variance == 1.0


def test_rewards_are_divided_by_the_spread_of_the_discounted_return():
    """Two envs, gamma 1/2: returns (2, 4), then (1 + 1, 2 + 8) with variances 1 and 10.75 over all samples."""
    scaler = RewardScaler(2, 0.5)
    torch.testing.assert_close(scaler(torch.tensor([2.0, 4.0]), torch.zeros(2)), torch.tensor([2.0, 4.0]))
    found = scaler(torch.tensor([1.0, 8.0]), torch.zeros(2))
    std = torch.tensor([2.0, 4.0, 2.0, 10.0]).std(correction=0)
    torch.testing.assert_close(found, torch.tensor([1.0, 8.0]) / std)


def test_return_restarts_at_episode_ends():
    scaler = RewardScaler(2, 0.5)
    scaler(torch.tensor([2.0, 4.0]), torch.tensor([0, 1]))
    assert scaler.state_dict()["returns"].tolist() == [2.0, 0.0]


def test_clip_and_sign():
    scaler = RewardScaler(4, 0.0, clip=1.5)
    found = scaler(torch.tensor([-100.0, 1.0, -1.0, 0.0]), torch.zeros(4))
    assert found[0] == -1.5
    assert found[1] > 0 > found[2]
    assert found[3] == 0.0


def test_moments_are_frozen_in_eval_mode():
    scaler = RewardScaler(2, 0.5).eval()
    scaler(torch.tensor([2.0, 4.0]), torch.zeros(2))
    assert scaler.moments.count == 0
    assert scaler.state_dict()["returns"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_float32_rewards_do_not_lose_the_variance(shift):
    rewards = shift + torch.randn(64)
    scaler = RewardScaler(64, 0.0)
    scaler(rewards, torch.zeros(64))
    assert scaler.moments.variance.sqrt().item() == pytest.approx(rewards.double().std(correction=0).item())
