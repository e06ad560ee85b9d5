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


def one_process(file: Path) -> None:
    """Write the checkpoint of one process with other envs than the ranks have."""
    runner = make_runner(runner_cfg(reward_scaling=True), PointMassEnv(num_envs=4), seed=5)
    runner.learn(2)
    runner.save(str(file))


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> list[dict[str, Any]]:
    """What each of two gloo processes wrote; they start once for all tests."""
    folder = tmp_path_factory.mktemp("ranks")
    one_process(folder / "one.pt")
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


def test_target_kl_stops_all_ranks_before_one_step(ranks):
    """Each rank's own estimate differs; that of all decisions decides."""
    a, b = (rank["target_kl"]["metrics"][0] for rank in ranks)
    assert a["optimizer_steps"] == b["optimizer_steps"] and 1 < a["optimizer_steps"] < 30
    assert a["stopped_by_kl"] == b["stopped_by_kl"] == 1.0 and a["approx_kl"] <= 0.02
    assert torch.equal(ranks[0]["target_kl"]["weights"], ranks[1]["target_kl"]["weights"])


def test_ranks_with_few_decisions_take_equally_many_steps(ranks):
    """They would wait for each other forever otherwise. As many as the rank with most decisions can fill."""
    a, b = (rank["few_decisions"] for rank in ranks)
    assert (a["decisions"], b["decisions"]) == (2, 5)
    assert a["metrics"]["optimizer_steps"] == b["metrics"]["optimizer_steps"] == 2 * 4
    assert torch.equal(a["weights"], b["weights"])


def test_broken_data_of_one_rank_are_skipped_by_all(ranks):
    """Both stop with their line; rank 0 alone writes the state to go on from, and each its own minibatch."""
    for number, rank in enumerate(ranks):
        result = rank["nonfinite"]
        assert not result["moved"] and result["skipped"] == 3
        assert "3 gradients in a row were not finite" in result["line"]
        assert ("model_0.pt" in result["line"]) == (number == 0)
    folder = ranks[0]["folder"]
    assert sorted(f.name for f in (folder / "log0").iterdir()) == ["model_0.pt", "nonfinite_minibatch_0_1_rank0.pt"]
    assert sorted(f.name for f in (folder / "log1").iterdir()) == ["nonfinite_minibatch_0_1_rank1.pt"]


def test_moments_are_those_of_the_numbers_of_all_ranks(ranks):
    """Of 1, 2, 3, 10, 20: sum 36, mean 7.2, squares 514, so that 514 - 36^2 / 5 = 254.8 are the deviations."""
    for rank in ranks:
        found = rank["tally"]
        assert found["metrics"] == {"mean": 10.0}
        expected = [5.0, 36.0, 254.8, 1.0, 20.0, 7.2, 254.8 / 5, (254.8 / 4) ** 0.5]
        assert found["moments"]["some"] == pytest.approx(expected)
        assert found["moments"]["one-sided"] == pytest.approx([2.0, 12.0, 2.0, 5.0, 7.0, 6.0, 1.0, 2.0**0.5])


def union_of(parts: list[dict[str, torch.Tensor]]) -> TensorDict:
    """Return the decisions of both ranks; their episodes are different ones."""
    size = sum(len(part["log_prob"]) for part in parts)
    union = TensorDict({k: torch.cat([part[k] for part in parts]) for k in parts[0]}, [size])
    if "episode" in parts[0]:
        union["episode"] = torch.cat([part["episode"] + 100 * i for i, part in enumerate(parts)])
    return union


def gradient_of(alg: Any, loss: torch.Tensor) -> torch.Tensor:
    loss.backward()
    return torch.cat([p.grad.flatten() for p in alg.parameters()])


def assert_same_gradient(found: torch.Tensor, expected: torch.Tensor) -> None:
    """In length and direction."""
    assert expected.norm() > 1e-2
    assert (found.norm() / expected.norm()).item() == pytest.approx(1.0, abs=1e-6)
    assert torch.cosine_similarity(found.double(), expected.double(), dim=0).item() == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("scenario", ["gradients", "gradients_per_mini_batch"])
def test_gradient_is_that_of_one_process_with_all_data(ranks, scenario):
    """Every decision counts alike though one rank has three times as many; advantages are normalised over all."""
    parts = [rank[scenario]["batch"] for rank in ranks]
    assert [len(part["return"]) for part in parts] == [21, 63]
    union = union_of(parts)
    union["advantage"] = normalize(union["advantage"])
    # rank 0's weights
    alone = make_runner(runner_cfg(entropy_coef=0.01), PointMassEnv(), seed=100).alg
    terms = alone._loss_terms(union)
    expected = gradient_of(alone, alone._loss(terms).mean())
    metrics = {name: term.mean().item() for name, term in terms.items()} | {"grad_norm": expected.norm().item()}
    spread, error = union["return"].var().item(), (union["return"] - union["value"]).var().item()
    metrics |= {"explained_variance": 1.0 - error / spread, "perf/decisions": 84.0, "optimizer_steps": 1.0}
    for rank in ranks:
        assert_same_gradient(rank[scenario]["gradient"], expected)
        found = rank[scenario]["metrics"]
        assert {name: found[name] for name in metrics} == pytest.approx(metrics, rel=1e-4, abs=1e-6)


def test_final_kl_is_the_mean_over_all_decisions(ranks):
    """Not over ranks: one looks at three times as many."""
    parts = [rank["final_kl"]["final_kl"] for rank in ranks]
    assert [count for _, count in parts] == [21, 63]
    for rank in ranks:
        found = rank["final_kl"]["metrics"]["final_kl"]
        assert found == pytest.approx(sum(total for total, _ in parts) / 84, abs=1e-9)


GRPO = ["grpo_4_4", "grpo_4_0", "grpo_4_1", "grpo_4_1_keep", "grpo_4_1_episodes"]


@pytest.mark.parametrize("scenario", GRPO)
def test_grpo_gradient_is_that_of_one_process_with_all_groups(ranks, scenario):
    """Each informative decision, or each episode that has some, counts alike, wherever it was played."""
    results = [rank[scenario] for rank in ranks]
    for result in results:
        judged, batch = result["judged"], result["batch"]
        advantages = group_advantages(judged.view(4, 4)).flatten()
        torch.testing.assert_close(batch["advantage"], advantages[batch["episode"]])
    union = union_of([result["batch"] for result in results])
    if "keep" not in scenario:
        union = union[union["informative"]]
    alone = make_runner(grpo_cfg(entropy_coef=0.01), GroupedPointMassEnv(), seed=100).alg  # rank 0's weights
    loss = alone._loss(alone._loss_terms(union))
    mean = loss.mean()
    if "episodes" in scenario:
        mean = torch.stack([loss[union["episode"] == e].mean() for e in union["episode"].unique()]).mean()
    expected = gradient_of(alone, mean)
    for result in results:
        assert_same_gradient(result["gradient"], expected)
        assert torch.equal(result["weights"], results[0]["weights"])
        assert not torch.equal(result["weights"], result["before"])


def test_grpo_repeats_informative_decisions_alike_on_all_ranks(ranks):
    """A rank with one informative group does not fill up with that: each decision counts as often as in one process."""
    results = [rank["grpo_4_1_resample"] for rank in ranks]
    informative = [result["batch"]["informative"] for result in results]
    decisions, teaching = sum(map(len, informative)), sum(int(part.sum()) for part in informative)
    for result, part in zip(results, informative, strict=True):
        assert part[result["rows"]].all() and set(part.nonzero()[:, 0].tolist()) <= set(result["rows"].tolist())
        assert len(result["rows"]) == round(int(part.sum()) * decisions / teaching)
    assert 2 * len(results[1]["rows"]) < len(informative[1])  # alone it would repeat each until there are as many


@pytest.mark.parametrize(("scenario", "groups"), [("grpo_4_4", 8), ("grpo_4_0", 4), ("grpo_4_1", 5)])
def test_grpo_metrics_are_those_of_all_ranks(ranks, scenario, groups):
    results = [rank[scenario] for rank in ranks]
    judged, success = (torch.cat([result[name] for result in results]) for name in ("judged", "success"))
    advantage = torch.cat([result["batch"]["advantage"] for result in results])
    expected = {
        "frac_zero_std": 1.0 - groups / 8,
        "return_mean": judged.mean(),
        "return_std": judged.std(),
        "return_min": judged.min(),
        "return_max": judged.max(),
        "return_diversity": judged.view(8, 4).var(1, unbiased=False).mean() / judged.var(unbiased=False),
        "advantage_mean": advantage.mean(),
        "advantage_std": advantage.std(),
        "charts/success_rate": success.float().mean(),
        "perf/decisions": float(len(advantage)),
    }
    assert results[0]["judged"].min() != results[1]["judged"].min()
    for result in results:
        found = {name: result["metrics"][name] for name in expected}
        assert found == pytest.approx({k: float(v) for k, v in expected.items()}, rel=1e-5, abs=1e-6)


def test_a_rank_without_an_informative_group_takes_part(ranks):
    """In all steps, and in the decision on the next rate; they would wait for each other forever if it did not."""
    a, b = (rank["grpo_many_steps"] for rank in ranks)
    assert not b["batch"]["informative"].any() and a["batch"]["informative"].any()
    assert torch.equal(a["weights"], b["weights"]) and not torch.equal(a["weights"], a["before"])
    timed = {"perf/update", "perf/decisions_per_s"}  # by each rank's own clock
    assert {k: v for k, v in a["metrics"].items() if k not in timed} == {
        k: v for k, v in b["metrics"].items() if k not in timed
    }
    assert a["metrics"]["optimizer_steps"] == 6 and a["metrics"]["final_kl"] > 0


# -- what is sent ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scenario", "share"), [("traffic", 1.2), ("traffic_lora", 2.0)])
def test_frozen_weights_are_never_sent(ranks, scenario, share):
    """Trained parameters and the normalisers' moments at the start; gradients of the former in each step."""
    for rank in ranks:
        found = rank[scenario]
        assert found["all"] > share * found["trained"]  # the tiny backbone; of the real network it is nearly all
        assert found["broadcast"] == found["trained"] + found["moments"]
        assert found["steps"] == 1
        others = found["reduced"] - found["trained"]  # counts, moments of advantages and of normalisers
        assert 0 < others < 1000
        assert torch.equal(found["weights"], ranks[0][scenario]["weights"])


def test_reference_of_rank_0_is_that_of_all(ranks):
    a, b = (rank["grpo_reference"] for rank in ranks)
    assert any(not torch.equal(tensor, b["before"][name]) for name, tensor in a["before"].items())
    for name, tensor in a["before"].items():
        assert torch.equal(a["after"][name], tensor) and torch.equal(b["after"][name], tensor)


def test_recurrent_models_learn_together(ranks):
    a, b = (rank["recurrent"] for rank in ranks)
    assert torch.equal(a["weights"], b["weights"]) and not torch.equal(a["weights"], a["before"])
    assert a["kl"] == b["kl"] > 0
    assert [part.shape[1] for part in a["states"]] == [3] * 4 and [part.shape[1] for part in b["states"]] == [5] * 4


def test_an_evaluation_is_that_of_all_ranks(ranks):
    """4 of 8 episodes; one that a rank breaks off counts on none, and the ranks have other starts."""
    a, b = (rank["evaluated"] for rank in ranks)
    for name, expected in (("charts/eval_success_rate", 0.5), ("charts/eval_episodes", 8), ("charts/eval_return", 3.5)):
        for result in (a, b):
            assert [m.get(name) for m in result["metrics"]] == [expected, None, expected]
    assert a["best"] == b["best"]
    assert a["best"] | {"conditions": {}} == {
        "iteration": 2, "episodes": 8, "successes": 4, "mean_return": 3.5, "conditions": {}
    }  # fmt: skip
    assert torch.equal(a["weights"], b["weights"])
    assert torch.equal(a["starts"][0], a["starts"][2]) and not torch.equal(a["starts"], b["starts"])


# -- stopping and resuming ---------------------------------------------------------------------------------------------


def test_nobody_leaves_before_the_rescued_state_is_written(ranks):
    """The launcher would end the rank that writes."""
    a, b = (rank["rescued"] for rank in ranks)
    assert a["there"] and b["there"]
    assert "rescued/model_0.pt" in a["line"] and "model_0.pt" not in b["line"]


def test_a_request_to_one_rank_stops_all_at_the_same_place(ranks):
    """After 14 steps, the end of the second rollout of 7, before anything is learned from it."""
    for rank in ranks:
        result = rank["stopped"]
        assert result["steps"] == 14 and not result["moved"]
        assert result["line"].startswith("75 [gr00t_rl] stopped by SIGTERM in iteration 1")
    file = ranks[0]["folder"] / "stopped" / "model_1.pt"
    saved = torch.load(file, weights_only=True)
    assert saved["algorithm_state_dict"]["iteration"] == 1
    alone = make_runner(runner_cfg(reward_scaling=True), PointMassEnv(num_envs=4))
    alone.load(str(file))
    assert torch.equal(rank_worker.weights(alone.alg), ranks[0]["stopped"]["weights"])


def test_one_process_is_resumed_by_two(ranks):
    """With its weights, moments and counters; each rank goes on with a stream of its own, made from the file's."""
    saved = torch.load(ranks[0]["folder"] / "one.pt", weights_only=True)
    alone = make_runner(runner_cfg(reward_scaling=True), PointMassEnv(num_envs=4))
    alone.alg.load(saved, None, True)
    a, b = (rank["resumed"] for rank in ranks)
    for result in (a, b):
        assert torch.equal(result["loaded"], rank_worker.weights(alone.alg))
        assert result["iteration"] == 2 and result["count"] == 2 * 7 * 4
        assert result["all"] == 2 * 7 * 4 + 7 * (3 + 3)
    assert not set(a["numbers"]) & set(b["numbers"])
    assert torch.equal(a["weights"], b["weights"]) and not torch.equal(a["weights"], a["loaded"])


def test_ranks_that_do_not_begin_alike_are_refused(ranks):
    """As where machines share no disk and "latest" is a file on the first only; and where moments alone differ."""
    for rank in ranks:
        found = rank["other_starts"]
        assert found["all"] == "begun"
        assert "processes 0 and 1 do not go on from the same state (iterations done 2 and 0, " in found["rank 0"]
        assert "iterations to do 0 and 3" in found["rank 0"] and "set --checkpoint to the same file" in found["rank 0"]
        assert "(optimiser steps " in found["moments"] and "iterations" not in found["moments"]


def test_two_processes_are_resumed_by_one(ranks):
    """Which goes on with rank 0's stream."""
    saved = torch.load(ranks[0]["folder"] / "two.pt", weights_only=True)
    alone = make_runner(runner_cfg(reward_scaling=True), PointMassEnv(num_envs=4))
    alone.alg.load(saved, None, True)
    assert torch.equal(torch.rand(3), ranks[0]["resumed"]["drawn next"])
    assert torch.equal(rank_worker.weights(alone.alg), ranks[0]["resumed"]["weights"])
    assert alone.alg.iteration == 3 and alone.alg.reward_scaler.moments.count == 2 * 7 * 4 + 7 * (3 + 3)
    alone.learn(1)
