# SPDX-License-Identifier: BSD-3-Clause
"""The gate before the first update: what it measures, when it warns, and that it changes nothing."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from helpers import ACTORS, GroupedPointMassEnv, PointMassEnv, collect, grpo_cfg, make_runner, parameters, runner_cfg
from recurrent_helpers import recurrent_cfg

from gr00t_rl.algorithms.gate import ROWS, UpdateGate
from gr00t_rl.models.policy import PolicyEvaluation

NAMES = {"gate_ratio_error", "gate_ratio_error_max", "gate_approx_kl", "gate_kl"}


def first_update(runner: Any) -> dict[str, float]:
    collect(runner)
    return runner.alg.update()


def weights(runner: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in parameters(runner)])


def test_figures_by_hand(capsys, caplog):
    """Ratios 1, e^0.5 and e^-0.5, in two micro-batches: errors 0, 0.649 and 0.393."""

    def scored() -> Any:
        for change in ([0.0, 0.5], [-0.5]):
            old = torch.full((len(change),), -3.0)
            kl = torch.full((len(change),), 0.25)
            yield old, PolicyEvaluation(old + torch.tensor(change), torch.zeros(1), (), lambda kl=kl: kl)

    gate = UpdateGate("cpu", 1, True, ["this", "that"])
    found = gate.look(scored())
    errors = [0.0, math.exp(0.5) - 1, 1 - math.exp(-0.5)]
    assert found["gate_ratio_error"] == pytest.approx(sum(errors) / 3)
    assert found["gate_ratio_error_max"] == pytest.approx(max(errors))
    k3 = (0.0 + (math.exp(0.5) - 1 - 0.5) + (math.exp(-0.5) - 1 + 0.5)) / 3
    assert found["gate_approx_kl"] == pytest.approx(k3, rel=1e-5)
    assert found["gate_kl"] == pytest.approx(0.25)
    assert gate.passed and "3 decisions" in capsys.readouterr().out
    assert "set this, or that" in caplog.text and len(caplog.records) == 1


def test_it_reads_no_more_than_it_needs_and_waits_where_there_is_nothing(caplog):
    read = []

    def scored(size: int) -> Any:
        for i in range(4):
            read.append(i)
            yield (
                torch.zeros(size),
                PolicyEvaluation(torch.zeros(size), torch.zeros(size), (), lambda: torch.zeros(size)),
            )

    gate = UpdateGate("cpu", 1, True, [])
    assert gate.look(iter(())) == {} and not gate.passed
    assert gate.look(scored(ROWS // 2 + 1))["gate_ratio_error"] == 0.0
    assert read == [0, 1] and not caplog.records


@pytest.mark.parametrize("actor", ACTORS)
def test_float32_on_the_cpu_passes(actor, capsys, caplog):
    """Up to the last bits, which may depend on the batch shape; only in the first update of a process."""
    runner = make_runner(runner_cfg(actor, num_learning_epochs=1), PointMassEnv())
    metrics = first_update(runner)
    assert metrics.keys() >= NAMES
    assert all(0.0 <= metrics[name] < 2e-6 for name in NAMES)
    assert capsys.readouterr().out.count("before the first update") == 1 and not caplog.records
    assert not first_update(runner).keys() & NAMES
    assert not capsys.readouterr().out


CFGS = {
    "mlp": runner_cfg("mlp"),
    "flow": runner_cfg("flow_sde_one", micro_batch_size=2, num_learning_epochs=1),
    "recurrent": recurrent_cfg(),
    "grpo": grpo_cfg("mlp"),
}


@pytest.mark.parametrize("name", CFGS)
def test_a_run_is_the_same_with_and_without(name):
    """To the last bit: weights, metrics and generators."""
    found = []
    for passed in (False, True):
        env = GroupedPointMassEnv() if name == "grpo" else PointMassEnv()
        runner = make_runner(copy.deepcopy(CFGS[name]), env)
        if runner.cfg["num_steps_per_env"] is None:
            runner.cfg["num_steps_per_env"] = env.max_episode_length
        runner.alg.gate.passed = passed
        metrics = [{k: v for k, v in first_update(runner).items() if "perf" not in k} for _ in range(2)]
        assert bool(metrics[0].keys() & NAMES) != passed
        for key in NAMES:
            metrics[0].pop(key, None)
        found.append((torch.cat([p.detach().flatten() for p in runner.alg.parameters()]), metrics, torch.rand(1)))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][2], found[1][2])
    assert found[0][1] == found[1][1]


def narrow(**algorithm: Any) -> dict[str, Any]:
    """An MLP with little noise, where rounding of the mean shows."""
    cfg = runner_cfg(**algorithm)
    cfg["actor"]["distribution_cfg"]["init_std"] = 0.05
    return cfg


def other_kernels(runner: Any) -> None:
    """Let what scores decisions round to bfloat16 where the rollout does not."""
    evaluate = runner.alg.policy.evaluate

    def rounded(record: Any) -> PolicyEvaluation:
        with torch.autocast("cpu", torch.bfloat16):
            return evaluate(record)

    runner.alg.policy.evaluate = rounded


def test_other_kernels_are_told_with_what_to_set(caplog):
    runner = make_runner(narrow(num_learning_epochs=1, recompute_log_probs=False), PointMassEnv())
    other_kernels(runner)
    metrics = first_update(runner)
    assert metrics["gate_ratio_error_max"] > metrics["gate_ratio_error"] > 1e-3
    assert metrics["gate_approx_kl"] > 0 and metrics["gate_kl"] > 0
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "agent.algorithm.recompute_log_probs=auto" in caplog.text and "\n" not in caplog.records[0].message


@pytest.mark.parametrize("name", ["mlp", "recurrent", "grpo"])
def test_other_kernels_compute_the_old_log_probs_from_then_on(name, capsys, caplog):
    """By default: the ratios of each update start at 1, as if it had been asked for."""
    found = []
    for choice in ("auto", True):
        cfg = copy.deepcopy(CFGS[name])
        cfg["algorithm"]["recompute_log_probs"] = choice
        cfg["actor"]["distribution_cfg"]["init_std"] = 0.05
        env = GroupedPointMassEnv() if name == "grpo" else PointMassEnv()
        runner = make_runner(cfg, env)
        if runner.cfg["num_steps_per_env"] is None:
            runner.cfg["num_steps_per_env"] = env.max_episode_length
        other_kernels(runner)
        metrics = first_update(runner)
        said = capsys.readouterr().out
        assert ("computes the old log-probabilities itself from now on" in said) == (choice == "auto")
        assert said.count("before the first update") == 1 + (choice == "auto")
        assert metrics["gate_ratio_error"] < 1e-6 and not caplog.records and runner.alg.recomputes
        first_update(runner)
        found.append(weights(runner) if name != "grpo" else torch.cat([p.flatten() for p in runner.alg.parameters()]))
    assert torch.equal(*found)


def test_what_recomputing_does_not_mend_is_warned_of(monkeypatch, caplog):
    """Such as minibatches that the micro-batches do not divide: each look finds other kernels."""
    runner = make_runner(narrow(num_learning_epochs=1), PointMassEnv())
    other_kernels(runner)
    monkeypatch.setattr(runner.alg, "_recompute_log_probs", lambda *_: None)
    assert first_update(runner)["gate_ratio_error"] > 1e-3
    assert "set agent.algorithm.micro_batch_size to a divisor of a minibatch" in caplog.text


def test_same_kernels_are_left_alone():
    runner = make_runner(narrow(num_learning_epochs=1), PointMassEnv())
    first_update(runner)
    assert runner.alg.options.recompute_log_probs == "auto" and not runner.alg.recomputes


def test_recomputed_log_probs_pass_whatever_the_kernels(caplog):
    runner = make_runner(narrow(num_learning_epochs=1, recompute_log_probs=True), PointMassEnv())
    other_kernels(runner)
    metrics = first_update(runner)
    assert metrics["gate_ratio_error"] < 1e-6 and not caplog.records


def test_the_gate_waits_for_the_critic(caplog):
    """In the critic's warm-up the actor is not run."""
    runner = make_runner(runner_cfg("flow_sde_one", num_critic_warmup_iterations=1), PointMassEnv())
    assert not first_update(runner).keys() & NAMES
    assert first_update(runner).keys() >= NAMES


@pytest.mark.parametrize("head", ["flow_sde_one", "flow_sde_all", "gaussian", "flow_noise"])
def test_bfloat16_network(head, caplog, record_property):
    """Under autocast: what the likelihood is made of is float32, and the gate says how far the ratios are from 1."""
    cfg = runner_cfg(head, num_learning_epochs=1)
    cfg["actor"]["dtype"] = "bfloat16"
    cfg["obs_groups"]["actor"].append("image")
    runner = make_runner(cfg, PointMassEnv(num_envs=16, image=True))
    collect(runner)
    policy = runner.alg.policy.evaluate(runner.alg.batch.clone())
    tensors = (
        policy.log_prob,
        policy.entropy,
        policy.kl,
        *policy.parameters,
        *dict(runner.alg.batch.items()).values(),
    )
    short = [x for x in tensors if x.dtype == torch.bfloat16]
    assert {x.dtype for x in tensors if x.is_floating_point()} == {torch.float32, torch.bfloat16} and len(short) == 1
    assert short[0] is runner.alg.batch["features"]
    metrics = runner.alg.update()
    record_property("mean |ratio - 1|", metrics["gate_ratio_error"])
    assert metrics["gate_ratio_error"] < 1e-3 and not caplog.records
    runner.alg.gate._tell({"error": 0.1, "high": 0.1, "k3": 0.0, "closed": 0.0}, 1)
    assert "agent.actor.dtype=float32" in caplog.text
