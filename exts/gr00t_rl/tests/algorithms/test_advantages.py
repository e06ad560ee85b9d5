# SPDX-License-Identifier: BSD-3-Clause
"""Advantages and statistics of groups against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from gr00t_rl.algorithms.advantages import (
    ESTIMATORS,
    decision_advantages,
    episode_weights,
    group_advantages,
    informative_groups,
    squared_deviations,
)

RETURNS = torch.tensor([[1.0, 0.0, 0.0, 1.0], [2.0, -2.0, 0.0, 4.0], [0.5, 0.5, 0.5, 0.5]])
# means 0.5, 1, 0.5; sums of squares 1 and 20, by 3: variances 1/3 and 20/3
STDS = [math.sqrt(1 / 3), math.sqrt(20 / 3)]


def test_grpo():
    expected = [[0.5, -0.5, -0.5, 0.5], [1.0, -3.0, -1.0, 3.0], [0.0] * 4]
    expected[:2] = [[a / (std + 1e-4) for a in row] for row, std in zip(expected, STDS, strict=False)]
    torch.testing.assert_close(group_advantages(RETURNS), torch.tensor(expected))


def test_dr_grpo_divides_by_nothing():
    expected = torch.tensor([[0.5, -0.5, -0.5, 0.5], [1.0, -3.0, -1.0, 3.0], [0.0] * 4])
    torch.testing.assert_close(group_advantages(RETURNS, "dr_grpo"), expected)


def test_rloo_leaves_one_out():
    """First row: 1 - (0 + 0 + 1) / 3 = 2/3 and 0 - 2/3; second: 2 - (-2 + 0 + 4) / 3 = 4/3, -2 - 2, 0 - 4/3, 4 - 0."""
    expected = torch.tensor([[2 / 3, -2 / 3, -2 / 3, 2 / 3], [4 / 3, -4.0, -4 / 3, 4.0], [0.0] * 4])
    torch.testing.assert_close(group_advantages(RETURNS, "rloo"), expected)


def test_unknown_estimator_is_named():
    with pytest.raises(ValueError, match="'gae'; set one of grpo, dr_grpo, rloo"):
        group_advantages(RETURNS, "gae")


@pytest.mark.parametrize("estimator", ["grpo", "dr_grpo", "rloo"])
def test_groups_know_nothing_of_each_other(estimator):
    together = group_advantages(RETURNS, estimator)
    apart = torch.cat([group_advantages(row[None], estimator) for row in RETURNS])
    assert torch.equal(together, apart)
    torch.testing.assert_close(together.sum(1), torch.zeros(3), atol=1e-6, rtol=0)


def informative(returns: torch.Tensor) -> list[bool]:
    """Of whole episodes."""
    flat = returns.view(1, -1)
    return informative_groups(flat, torch.ones_like(flat, dtype=torch.bool), flat[0].abs(), returns.shape[1]).tolist()


def test_informative_groups():
    assert informative(RETURNS) == [True, True, False]
    assert informative(torch.zeros(2, 3)) == [False, False]


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_rounding_teaches_nothing_at_any_scale(scale):
    assert informative(torch.tensor([[1.0, 1.0 + 1e-7], [1.0, 1.001]]) * scale) == [False, True]


def test_rounding_of_rewards_that_cancel_teaches_nothing():
    """Their sums are tiny, what was added up is not."""
    returns, ones = torch.tensor([[1e-8, -1e-8]]), torch.ones(1, 2, dtype=torch.bool)
    assert informative_groups(returns, ones, torch.ones(2), 2).tolist() == [False]
    assert informative_groups(returns, ones, torch.full((2,), 1e-8), 2).tolist() == [True]


def test_late_reward_makes_a_group_informative():
    """Two groups of two, 600 times, gamma 0.975: one episode of the first is paid once, near its end.

    At the start 2.5e-7 is left of the reward. The decisions just before it are better than their neighbours by 1.
    """
    times = torch.arange(600.0)
    to_go = torch.zeros(600, 4)
    to_go[:, 1] = torch.where(times <= 598, 0.975 ** (598 - times), 0.0)
    assert to_go[0, 1] < 1e-6
    valid = torch.ones_like(to_go, dtype=torch.bool)
    assert informative_groups(to_go, valid, to_go.amax(0), 2).tolist() == [True, False]


def test_decisions_without_a_neighbour_teach_nothing():
    """The episode that is paid runs alone by then."""
    to_go, valid = torch.tensor([[0.0, 0.0], [5.0, 0.0]]), torch.tensor([[True, True], [True, False]])
    assert informative_groups(to_go, valid, to_go.amax(0), 2).tolist() == [False]


def test_squared_deviations():
    """1/4 each; from 1 to 2, -2, 0, 4; none where returns differ by rounding, or are not counted."""
    found = squared_deviations(RETURNS)
    assert found.tolist() == [[0.25] * 4, [1.0, 9.0, 1.0, 9.0], [0.0] * 4]
    assert squared_deviations(torch.tensor([[1e3, 1e3 + 1e-4]])).tolist() == [[0.0, 0.0]]
    good = torch.tensor([[True, True, False]])
    assert squared_deviations(torch.tensor([[1.0, 3.0, 50.0]]), good).tolist() == [[1.0, 1.0, 0.0]]


def test_episode_weights():
    """Episodes of 3, 1 and 2 decisions (one of the four has none): 6 decisions over 3 episodes, w = 2 / length."""
    episode = torch.tensor([0, 0, 0, 2, 3, 3])
    weights = episode_weights(episode, 4)
    torch.testing.assert_close(weights, torch.tensor([2 / 3, 2 / 3, 2 / 3, 2.0, 1.0, 1.0]))
    losses = torch.tensor([3.0, 0.0, 3.0, 5.0, 1.0, 2.0])
    torch.testing.assert_close((weights * losses).mean(), torch.tensor((2.0 + 5.0 + 1.5) / 3))
    # beside another rank's 4 decisions of one episode: 10 decisions over 4 episodes, 2.5 / length
    weights = episode_weights(episode, 4, mean_length=2.5)
    torch.testing.assert_close(weights, torch.tensor([2.5 / 3] * 3 + [2.5, 1.25, 1.25]))


def test_decision_advantages_by_hand():
    """One group of three, decisions at two times, the third env has ended after its first.

    Time 0: 1, 2, 6 with mean 3; time 1: 1 and 3 with mean 2. Deviations -2, -1, 3, -1, 1: their squares sum to 16.
    """
    to_go = torch.tensor([[1.0, 2.0, 6.0], [1.0, 3.0, 0.0]])
    valid = torch.tensor([[True, True, True], [True, True, False]])
    centred = torch.tensor([[-2.0, -1.0, 3.0], [-1.0, 1.0, 0.0]])
    found = decision_advantages(to_go, valid, 3, "dr_grpo")
    torch.testing.assert_close(found, centred)
    found = decision_advantages(to_go, valid, 3, "grpo", eps=0.0)
    torch.testing.assert_close(found, centred / 2.0)  # the variance is 16 / (5 - 1)
    found = decision_advantages(to_go, valid, 3, "rloo")
    # each less the mean of the others: 1 - 4, 2 - 3.5, 6 - 1.5; 1 - 3, 3 - 1
    torch.testing.assert_close(found, torch.tensor([[-3.0, -1.5, 4.5], [-2.0, 2.0, 0.0]]))


def test_decision_advantages_of_the_last_to_run_are_zero():
    """There is nobody to compare with, and a group without any spread gives zeros, no infinities."""
    to_go = torch.tensor([[1.0, 1.0, 5.0, 7.0], [9.0, 0.0, 0.0, 2.0]])
    valid = torch.tensor([[True, True, True, True], [True, False, False, True]])
    for estimator in ESTIMATORS:
        found = decision_advantages(to_go, valid, 2, estimator)
        assert found[1].tolist() == [0.0, 0.0, 0.0, 0.0]
        assert found[0, :2].tolist() == [0.0, 0.0] and found[0, 2] == -found[0, 3] != 0.0


def test_decision_advantages_refuse_unknown_estimators():
    with pytest.raises(ValueError, match="estimator is 'mean'"):
        decision_advantages(torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), 2, "mean")


GOOD = torch.tensor([[True, False, True, True], [True, True, False, False], [False, True, False, False]])


@pytest.mark.parametrize("estimator", ["grpo", "dr_grpo", "rloo"])
def test_episodes_that_broke_are_as_if_they_were_not_there(estimator):
    """The rest has the advantages of a smaller group; one alone has none, and what the broken ones hold is nobody's."""
    returns = RETURNS.where(GOOD, 1e6)
    advantages = group_advantages(returns, estimator, good=GOOD)
    for row, good in enumerate(GOOD[:2]):
        expected = group_advantages(RETURNS[row : row + 1, good], estimator)
        torch.testing.assert_close(advantages[row : row + 1, good], expected)
    assert (advantages[~GOOD] == 0).all() and (advantages[2] == 0).all()
    flat = returns.view(1, -1)
    magnitude = flat[0].where(GOOD.view(-1), 0.0).abs()
    assert informative_groups(flat, GOOD.view(1, -1), magnitude, 4).tolist() == [True, True, False]


def test_deviations_without_the_episodes_that_broke():
    """(1, 0, 1) of mean 2/3, and one alone."""
    returns = torch.tensor([[1.0, 9.0, 0.0, 1.0], [0.5, 9.0, 9.0, 9.0]])
    good = torch.tensor([[True, False, True, True], [True, False, False, False]])
    expected = torch.tensor([[1 / 9, 0.0, 4 / 9, 1 / 9], [0.0] * 4])
    torch.testing.assert_close(squared_deviations(returns, good), expected)
