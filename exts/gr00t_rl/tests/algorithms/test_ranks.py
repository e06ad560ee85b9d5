# SPDX-License-Identifier: BSD-3-Clause
"""Two processes that learn together: equal decisions and weights from different data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from helpers import GroupedPointMassEnv, PointMassEnv, grpo_cfg, make_runner, runner_cfg
from tensordict import TensorDict

sys.path.append(str(Path(__file__).parent))
import rank_worker

from gr00t_rl.algorithms.advantages import group_advantages
from gr00t_rl.algorithms.returns import normalize


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> list[dict[str, Any]]:
    """What each of two gloo processes wrote; they start once for all tests."""
    folder = tmp_path_factory.mktemp("ranks")
    # a server that loads the packages once, and has no threads when the processes are forked off it
    mp.set_forkserver_preload(["gr00t_rl.algorithms", "gr00t_rl.models.gr00t_actor", "rsl_rl.runners"])  # type: ignore
    mp.start_processes(rank_worker.run, (str(folder),), rank_worker.WORLD, start_method="forkserver")  # type: ignore
    results = [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(rank_worker.WORLD)]
    results[0]["folder"] = folder
    return results


@pytest.mark.parametrize("scenario", ["mlp", "flow"])
def test_weights_are_equal_after_updates_with_different_data(ranks, scenario):
    """Rank 0's weights are broadcast, and all steps are taken together; the normalisers see all ranks' data too."""
    a, b = (rank[scenario] for rank in ranks)
    assert not torch.equal(a["returns"], b["returns"])
    assert scenario == "flow" or not torch.equal(a["initial"], b["initial"])  # the tiny base network is always the same
    assert torch.equal(a["broadcast"], a["initial"]) and torch.equal(b["broadcast"], a["initial"])
    assert torch.equal(a["weights"], b["weights"]) and not torch.equal(a["weights"], a["initial"])
    assert a["buffers"].keys() == b["buffers"].keys()
    for name, value in a["buffers"].items():
        torch.testing.assert_close(value, b["buffers"][name], msg=name)


def test_adaptive_rates_are_equal(ranks):
    a, b = (rank["mlp"] for rank in ranks)
    assert a["rates"] == b["rates"] and a["rates"][0] != [1e-3, 1e-3]
    assert [m["final_kl"] for m in a["metrics"]] == [m["final_kl"] for m in b["metrics"]]


def test_reward_scale_is_shared_and_running_returns_are_not(ranks):
    a, b = (rank["mlp"] for rank in ranks)
    assert a["moments"]["count"] == 2 * 2 * 7 * 4  # ranks, iterations, steps, envs
    assert all(torch.equal(value, b["moments"][name]) for name, value in a["moments"].items())
    assert not torch.equal(a["running"], b["running"])


def test_moments_of_all_ranks_are_those_of_one_pass(ranks):
    samples = torch.cat([rank["moments"]["samples"] for rank in ranks]).double()
    for rank in ranks:
        assert rank["moments"]["count"] == len(samples)
        torch.testing.assert_close(rank["moments"]["mean"], samples.mean(0))
        torch.testing.assert_close(rank["moments"]["m2"] / len(samples), samples.var(0, unbiased=False))


def test_target_kl_stops_all_ranks_at_one_step(ranks):
    """Each rank's own estimate differs; the mean decides."""
    a, b = (rank["target_kl"]["metrics"][0] for rank in ranks)
    assert a["approx_kl"] != b["approx_kl"]
    assert a["optimizer_steps"] == b["optimizer_steps"] and 1 < a["optimizer_steps"] < 30
    assert torch.equal(ranks[0]["target_kl"]["weights"], ranks[1]["target_kl"]["weights"])


def test_ranks_with_few_decisions_take_equally_many_steps(ranks):
    """They would wait for each other forever otherwise."""
    a, b = (rank["few_decisions"] for rank in ranks)
    assert (a["decisions"], b["decisions"]) == (2, 5)
    assert torch.equal(a["weights"], b["weights"])


def test_broken_data_of_one_rank_are_skipped_by_all(ranks):
    """Both stop with their line; rank 0 alone writes the state to go on from, and each its own minibatch."""
    for number, rank in enumerate(ranks):
        result = rank["nonfinite"]
        assert not result["moved"] and result["skipped"] == 3
        assert "3 gradients in a row were not finite" in result["line"]
        assert ("model_0.pt" in result["line"]) == (number == 0)
    folder = ranks[0]["folder"]
    assert sorted(f.name for f in (folder / "log0").iterdir()) == ["model_0.pt", "nonfinite_minibatch_0_1.pt"]
    assert sorted(f.name for f in (folder / "log1").iterdir()) == ["nonfinite_minibatch_0_1.pt"]


def test_gradient_is_that_of_one_process_with_all_data(ranks):
    """Advantages included: they are normalised over the union of both ranks' decisions."""
    parts = [rank["gradients"]["batch"] for rank in ranks]
    assert len(parts[0]["return"]) == len(parts[1]["return"])  # so that the mean over ranks is that over decisions
    union = TensorDict({k: torch.cat([part[k] for part in parts]) for k in parts[0]}, [2 * len(parts[0]["return"])])
    union["advantage"] = normalize(union["advantage"])
    # rank 0's weights
    alone = make_runner(runner_cfg(num_learning_epochs=1, num_mini_batches=1), PointMassEnv(), seed=100).alg
    alone._end_iteration = lambda *_: None
    terms = alone._loss_terms(union)
    (terms["policy"] + alone.options.value_loss_coef * terms["value"]).mean().backward()
    expected = torch.cat([p.grad.flatten() for p in alone.parameters()])
    assert expected.abs().max() > 1e-3
    for rank in ranks:
        torch.testing.assert_close(rank["gradients"]["gradient"], expected, atol=1e-6, rtol=1e-4)


def test_grpo_compares_within_a_rank_and_averages_gradients(ranks):
    """Advantages are those of each rank's own groups; the gradient is the mean over ranks, and weights stay equal."""
    expected = []
    for rank in ranks:
        result = rank["grpo"]
        judged, batch = result["judged"], result["batch"]
        advantages = group_advantages(judged.view(2, 4)).flatten()
        torch.testing.assert_close(batch["advantage"], advantages[batch["episode"]])
        alone = make_runner(grpo_cfg(zero_std_groups="keep"), GroupedPointMassEnv(), seed=100).alg  # rank 0's weights
        alone._loss(alone._loss_terms(TensorDict(batch, [len(batch["advantage"])]))).mean().backward()
        expected.append(torch.cat([p.grad.flatten() for p in alone.parameters()]))
    assert not torch.equal(ranks[0]["grpo"]["judged"], ranks[1]["grpo"]["judged"])
    for rank in ranks:
        torch.testing.assert_close(rank["grpo"]["gradient"], (expected[0] + expected[1]) / 2, atol=1e-6, rtol=1e-4)
    assert torch.equal(ranks[0]["grpo"]["weights"], ranks[1]["grpo"]["weights"])


def test_a_rank_without_an_informative_group_takes_part(ranks):
    """With a gradient of zero; they would wait for each other forever if it did not."""
    a, b = (rank["grpo_barren_rank"] for rank in ranks)
    assert not b["batch"]["informative"].any() and a["batch"]["informative"].any()
    assert torch.equal(a["weights"], b["weights"]) and not torch.equal(a["weights"], a["before"])
