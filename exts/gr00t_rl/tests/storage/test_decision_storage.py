# SPDX-License-Identifier: BSD-3-Clause
"""Decisions of variable duration, by hand."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict

from gr00t_rl.storage import DecisionStorage


def record(values: list[float]) -> TensorDict:
    return TensorDict({"value": torch.tensor(values), "id": torch.tensor(values) * 10}, batch_size=[len(values)])


def filled() -> DecisionStorage:
    """Two envs, four steps, gamma 1/2: env 0 runs one decision of 4; env 1 ends its first after 1, its second after 2.

    The rewards of env 0 are 1, 1, 1, 1, those of env 1 are 2, 4, 8, 16.
    """
    storage = DecisionStorage(2, 4, 0.5, "cpu")
    storage.open(torch.tensor([0, 1]), record([0.1, 0.2]))
    storage.step(torch.tensor([1.0, 2.0]), torch.tensor([0, 1]))
    storage.open(torch.tensor([1]), record([0.3]))
    storage.step(torch.tensor([1.0, 4.0]), torch.tensor([0, 0]))
    storage.step(torch.tensor([1.0, 8.0]), torch.tensor([0, 1]), bootstrap=torch.tensor([0.0, 100.0]))
    storage.open(torch.tensor([1]), record([0.4]))
    storage.step(torch.tensor([1.0, 16.0]), torch.tensor([0, 0]))
    return storage


def test_durations_and_validity():
    storage = filled()
    assert storage.durations.tolist() == [[4, 1], [0, 2], [0, 1], [0, 0]]
    assert storage.valid.tolist() == [[True, True], [False, True], [False, True], [False, False]]


def test_rewards_are_discounted_within_the_decision():
    """1 + 1/2 + 1/4 + 1/8; 2; 4 + 8/2 + the time-out's 100/4; 16."""
    assert filled().rewards.tolist() == [[1.875, 2.0], [0.0, 33.0], [0.0, 16.0], [0.0, 0.0]]


def test_discounts_are_gamma_to_the_duration_or_zero_at_an_end():
    assert filled().discounts.tolist() == [[0.0625, 0.0], [0.0, 0.0], [0.0, 0.5], [0.0, 0.0]]


def test_values_and_records_of_a_row_belong_together():
    storage = filled()
    torch.testing.assert_close(storage.values.view(-1)[storage.rows], storage.records()["value"])
    assert storage.rows.tolist() == [0, 1, 3, 5]  # slot * 2 + env
    torch.testing.assert_close(storage.records()["id"], torch.tensor([1.0, 2.0, 3.0, 4.0]))


def test_clear_forgets_everything():
    storage = filled()
    storage.clear()
    assert not storage.valid.any()
    assert storage.rewards.abs().sum() + storage.discounts.abs().sum() + storage.durations.sum() == 0
    storage.open(torch.tensor([1]), record([0.7]))
    assert storage.rows.tolist() == [1]
    assert storage.records()["value"].tolist() == pytest.approx([0.7])


def test_every_env_step_may_be_a_decision():
    """The most decisions that an iteration can hold fit."""
    storage = DecisionStorage(1, 3, 0.9, "cpu")
    for i in range(3):
        storage.open(torch.tensor([0]), record([float(i)]))
        storage.step(torch.tensor([float(i)]), torch.tensor([0]))
    assert storage.rewards.squeeze(1).tolist() == [0.0, 1.0, 2.0]
    assert storage.discounts.squeeze(1).tolist() == pytest.approx([0.9, 0.9, 0.9])


def test_steps_between_an_episodes_end_and_the_next_decision_are_nobodys():
    """Env 0 ends after one step and waits for two; rewards or an end meanwhile change nothing. Env 1 runs on."""
    storage = DecisionStorage(2, 4, 0.5, "cpu")
    storage.open(torch.tensor([0, 1]), record([0.1, 0.2]))
    storage.step(torch.tensor([2.0, 1.0]), torch.tensor([1, 0]), bootstrap=torch.tensor([8.0, 0.0]))
    storage.step(torch.tensor([100.0, 1.0]), torch.tensor([0, 0]))
    storage.step(torch.tensor([100.0, 1.0]), torch.tensor([1, 0]), bootstrap=torch.tensor([100.0, 0.0]))
    assert storage.rewards[0].tolist() == [6.0, 1.75]  # 2 + 8 / 2
    assert storage.discounts[0].tolist() == [0.0, 0.125]
    assert storage.durations[0].tolist() == [1, 3]
    storage.open(torch.tensor([0, 1]), record([0.3, 0.4]))
    storage.step(torch.tensor([1.0, 1.0]), torch.tensor([0, 0]))
    assert storage.rewards.tolist() == [[6.0, 1.75], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    assert storage.discounts[1].tolist() == [0.5, 0.5]
    assert storage.durations[1].tolist() == [1, 1]


def test_an_env_that_has_not_decided_yet_changes_nothing():
    storage = DecisionStorage(2, 2, 0.5, "cpu")
    storage.open(torch.tensor([1]), record([0.2]))
    storage.step(torch.tensor([5.0, 1.0]), torch.tensor([1, 0]))
    assert storage.rewards.tolist() == [[0.0, 1.0], [0.0, 0.0]]
    assert storage.durations.tolist() == [[0, 1], [0, 0]]


def test_what_is_discarded_leaves_the_records(monkeypatch):
    """Of env 1 the second decision goes while it runs, and nothing moves in the arrays; rows come in pieces of 2."""
    monkeypatch.setattr("gr00t_rl.storage.rows.ROWS_AT_ONCE", 2)
    storage = DecisionStorage(2, 4, 0.5, "cpu")
    storage.open(torch.tensor([0, 1]), record([0.1, 0.2]))
    storage.step(torch.tensor([1.0, 2.0]), torch.tensor([0, 1]))
    storage.discard(torch.tensor([False, True]))  # nothing runs there now
    storage.open(torch.tensor([1]), record([0.3]))
    storage.discard(torch.tensor([False, True]))
    storage.step(torch.tensor([1.0, 4.0]), torch.tensor([0, 1]))
    storage.open(torch.tensor([1]), record([0.4]))
    assert storage.discarded.nonzero().tolist() == [[1, 1]]
    for _ in range(2):
        assert storage.rows.tolist() == [0, 1, 5]
        assert storage.records()["value"].tolist() == pytest.approx([0.1, 0.2, 0.4])
    assert storage.values[:, 1].tolist() == pytest.approx([0.2, 0.3, 0.4, 0.0])
    storage.clear()
    assert not storage.discarded.any()
