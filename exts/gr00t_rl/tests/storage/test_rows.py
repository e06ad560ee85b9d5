# SPDX-License-Identifier: BSD-3-Clause
"""Rows are kept once, whatever comes in which pieces."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import GroupedPointMassEnv, PointMassEnv, collect, grpo_cfg, make_runner, runner_cfg
from tensordict import TensorDict

from gr00t_rl.storage import DecisionStorage, HostFeatureCache, RowBuffer
from gr00t_rl.utils.allocations import LiveBytes

WIDE = 2048
"""Numbers per row, so that rows outweigh all else."""


def rows(first: int, number: int) -> dict[str, torch.Tensor]:
    ids = torch.arange(first, first + number)
    return {"id": ids, "wide": ids[:, None].float().expand(number, WIDE).clone()}


@pytest.mark.parametrize("expected", [0, 7, 100])
def test_rows_come_back_in_order(expected):
    """In pieces of 3, 1, 5 and 2, with room for none, some or all of them."""
    buffer = RowBuffer(expected)
    for first, number in ((0, 3), (3, 1), (4, 5), (9, 2)):
        buffer.append(rows(first, number))
    found = buffer.read()
    assert len(buffer) == 11 and found["id"].dtype == torch.int64
    assert found["id"].tolist() == list(range(11))
    assert torch.equal(found["wide"], torch.arange(11.0)[:, None].expand(11, WIDE))


def test_memory_lasts():
    buffer = RowBuffer(4)
    buffer.append(rows(0, 4))
    place = buffer.read()["wide"].data_ptr()
    buffer.clear()
    assert len(buffer) == 0 and len(buffer.read()["id"]) == 0
    buffer.append(rows(5, 2))
    assert buffer.read()["id"].tolist() == [5, 6] and buffer.read()["wide"].data_ptr() == place


def test_rows_that_are_left_out_close_their_gaps():
    buffer = RowBuffer(3000)
    buffer.append(rows(0, 3000))
    kept = torch.arange(3000)[torch.arange(3000) % 3 != 1]
    buffer.keep(kept)
    assert len(buffer) == 2000 and torch.equal(buffer.read()["id"], kept)
    buffer.append(rows(7, 1))
    assert buffer.read()["id"][-2:].tolist() == [2999, 7]


def test_other_names_than_before_are_refused():
    buffer = RowBuffer(4)
    buffer.append(rows(0, 1))
    with pytest.raises(KeyError, match="value"):
        buffer.append({"id": torch.zeros(1), "value": torch.zeros(1)})


def test_rows_of_a_rollout_serve_autograd():
    """Written in inference mode, read where gradients are recorded, and written outside of it."""
    buffer = RowBuffer(2)
    with torch.inference_mode():
        buffer.append({"x": torch.ones(2, 3)})
        held = buffer.read()["x"]
    weight = torch.ones(3, requires_grad=True)
    (held[torch.tensor([1])] * weight).sum().backward()
    assert weight.grad is not None and weight.grad.tolist() == [1.0] * 3
    buffer.clear()
    buffer.append({"x": torch.zeros(2, 3)})
    assert held.abs().sum() == 0


def test_nested_records_keep_their_names():
    storage = DecisionStorage(2, 2, 0.9, "cpu")
    record = TensorDict({"value": torch.ones(2), ("state", "h"): torch.ones(2, 3)}, [2])
    storage.open(torch.arange(2), record)
    found = storage.records()
    assert found.batch_size == torch.Size([2]) and torch.equal(found["state", "h"], torch.ones(2, 3))


@pytest.mark.parametrize("aligned", [True, False])
def test_records_are_kept_once(aligned):
    """8 envs, decisions of 4 steps in 16: never more alive than the records and those that are just being stored.

    Where envs decide at different times there are more records than expected; growing needs one tensor twice.
    """
    with LiveBytes() as live, torch.inference_mode():
        storage = DecisionStorage(8, 16, 0.9, "cpu", 4, aligned)
        dense = live.now
        for step in range(16):
            due = torch.arange(8) if step % 4 == 0 else torch.arange(2) if not aligned else torch.arange(0)
            if len(due) > 0:
                storage.open(due, TensorDict(rows(0, len(due)) | {"value": torch.zeros(len(due))}, [len(due)]))
        kept = storage.records()["wide"].nbytes
    assert len(storage.rows) == (32 if aligned else 32 + 12 * 2)
    if aligned:
        assert live.peak - dense <= 1.3 * kept  # one of four common decisions is on its way
    assert live.now - dense <= (1.1 if aligned else 1.3) * kept


@pytest.mark.parametrize("aligned", [True, False])
def test_some_resets_take_no_second_piece_of_memory(aligned):
    """Where envs decide when they are reset, there is room for a quarter more decisions than without resets."""
    storage = DecisionStorage(8, 16, 0.9, "cpu", 4, aligned)
    assert storage.expected_rows == 32 and storage.room == (32 if aligned else 40)
    with torch.inference_mode():
        storage.open(torch.arange(8), TensorDict(rows(0, 8), [8]))
        place = storage.records()["wide"].data_ptr()
        for _ in range((storage.room - 8) // 4):
            storage.open(torch.arange(4), TensorDict(rows(0, 4), [4]))
    assert storage.records()["wide"].data_ptr() == place and len(storage.rows) == storage.room
    assert DecisionStorage(8, 16, 0.9, "cpu").room == 8 * 16  # never more than one decision per env and step


def test_features_in_host_memory_are_kept_once():
    cache = HostFeatureCache()
    cache.expected_rows = 32
    with LiveBytes() as live:
        stored = [cache.append(torch.randn(8, WIDE)) for _ in range(4)]
        one = cache.gather(torch.cat(stored)[:1])
    assert one.shape == (1, WIDE)
    assert live.peak <= 1.3 * 32 * WIDE * 4


class Wide:
    """Observations that outweigh all else, of which the env itself keeps none."""

    def step(self, actions: torch.Tensor) -> Any:
        result = super().step(actions)  # type: ignore[misc]
        self.history.clear()  # type: ignore[attr-defined]
        return result

    def _observe(self, fresh: bool = False) -> TensorDict:
        obs = super()._observe(fresh)  # type: ignore[misc]
        return obs.set("critic", torch.zeros(self.num_envs, WIDE))  # type: ignore[attr-defined]


class WideEnv(Wide, PointMassEnv):
    """For PPO."""


class WideGroupedEnv(Wide, GroupedPointMassEnv):
    """For GRPO; the first group earns the same in all episodes."""

    def step(self, actions: torch.Tensor) -> Any:
        obs, rewards, dones, extras = super().step(actions)
        rewards[:4] = 0.0
        return obs, rewards, dones, extras


@pytest.mark.parametrize("algorithm", ["ppo", "grpo"])
def test_an_iteration_holds_its_decisions_once(algorithm):
    """In the second iteration, too, when the first one's are still there, and up to the minibatches.

    An iteration has 10 sets of observations; six more are the env's own and those that are just being stored. GRPO
    learns from one of its two groups.
    """
    options: dict[str, Any] = {"num_envs": 8, "termination": 0.0, "max_episode_length": 10}
    cfg = runner_cfg("mlp", num_steps=10, num_mini_batches=2) if algorithm == "ppo" else grpo_cfg("mlp")
    for model in ("actor", "critic"):
        if model in cfg:
            cfg[model]["hidden_dims"] = [4]  # so that weights, gradients and moments are small beside it
    if algorithm == "ppo":
        runner = make_runner(cfg, WideEnv(**options))
    else:
        cfg["obs_groups"]["actor"] = ["critic"]
        runner = make_runner(cfg, WideGroupedEnv(**options))
    kept = 8 * 10 * WIDE * 4
    with LiveBytes() as live:
        for _ in range(2):
            live.peak = 0
            collect(runner)
            runner.alg._prepare(runner.alg.batch)
            assert live.peak < 2.0 * kept
            runner.alg.update()
