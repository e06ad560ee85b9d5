# SPDX-License-Identifier: BSD-3-Clause
"""What an update of PPO does besides its gradient: rates, warm-up, bounds, early ends."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from helpers import PointMassEnv, collect, gradients_of, make_runner, parameters, runner_cfg
from tensordict import TensorDict

from gr00t_rl.utils.errors import ConfigurationError


def test_more_minibatches_than_decisions():
    """Every minibatch keeps at least one decision, and nothing becomes NaN."""
    runner = make_runner(
        runner_cfg("mlp", num_steps=1, num_mini_batches=8, normalize_advantage_per_mini_batch=True),
        PointMassEnv(num_envs=3),
    )
    runner.learn(1)
    assert all(p.isfinite().all() for p in parameters(runner))


def test_metrics_of_an_update_without_a_step():
    """With a rate of 0 the policy stays: no divergence, nothing clipped, and a loss of -mean(A) = 0."""
    runner = make_runner(runner_cfg("mlp", learning_rate=0.0, critic_learning_rate=0.0), PointMassEnv())
    collect(runner)
    values, returns = runner.alg.batch["value"].clone(), runner.alg.batch["return"].clone()
    metrics = runner.alg.update()
    assert metrics["approx_kl"] == pytest.approx(0.0, abs=1e-9)
    assert metrics["clipfrac"] == 0.0
    assert metrics["explained_variance"] == pytest.approx((1 - (returns - values).var() / returns.var()).item())
    assert metrics["grad_norm"] > 0


def test_gradients_are_clipped_by_their_global_norm():
    runner = make_runner(runner_cfg("mlp", max_grad_norm=0.01, num_mini_batches=1), PointMassEnv())
    collect(runner)
    norms, step = [], runner.alg.optimizer.step

    def measure(*args: Any) -> None:
        norms.append(torch.stack([g.norm() for g in gradients_of(runner)]).norm().item())
        step(*args)

    runner.alg.optimizer.step = measure
    assert runner.alg.update()["grad_norm"] > 0.01
    assert norms == pytest.approx([0.01] * 2, rel=1e-3)


@pytest.mark.parametrize("actor", ["flow_sde_one", "flow_sde_all"])
def test_entropy_bonus_that_would_do_nothing_is_refused(actor):
    """Also where no cfg of Isaac Lab's was checked before."""
    with pytest.raises(ConfigurationError, match=r"entropy_coef is 1.0, but .*=flow_noise or gaussian") as error:
        make_runner(runner_cfg(actor, entropy_coef=1.0), PointMassEnv())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("actor", ["mlp", "gaussian", "flow_noise"])
def test_entropy_bonus_does_something_where_it_is_accepted(actor):
    found = []
    for coefficient in (0.0, 1.0):
        runner = make_runner(runner_cfg(actor, entropy_coef=coefficient), PointMassEnv())
        collect(runner)
        runner.alg.update()
        found.append(torch.cat([p.detach().flatten() for p in runner.alg.actor.parameters()]))
    assert not torch.equal(*found)


@pytest.mark.parametrize("critic_rate", [None, 0.0, 2e-3])
def test_rates_of_actor_and_critic(critic_rate):
    """The critic's rate is the actor's unless it is set, to 0 too."""
    cfg = runner_cfg("mlp", learning_rate=1e-3, critic_learning_rate=critic_rate)
    groups = make_runner(cfg, PointMassEnv()).alg.optimizer.param_groups
    assert [group["lr"] for group in groups] == [1e-3, 1e-3 if critic_rate is None else critic_rate]
    assert groups[0]["eps"] == 1e-5


def test_critic_warm_up_leaves_the_actor_alone():
    """In the first iteration only the critic moves; in the second both do."""
    runner = make_runner(runner_cfg("flow_sde_one", num_critic_warmup_iterations=1), PointMassEnv())
    models = (runner.alg.actor, runner.alg.critic)
    for expected in ([False, True], [True, True]):
        before = [[p.detach().clone() for p in model.parameters()] for model in models]
        runner.learn(1)
        moved = [
            any(not torch.equal(a, b) for a, b in zip(old, model.parameters(), strict=True))
            for old, model in zip(before, models, strict=True)
        ]
        assert moved == expected


@pytest.mark.parametrize("cache", ["device", "pixels"])
def test_critic_warm_up_does_not_run_the_actor(cache):
    """Neither its head nor, from pixels, its backbone; and reports nothing of the policy."""
    cfg = runner_cfg("flow_sde_one", image=True, num_critic_warmup_iterations=1, target_kl=0.1)
    cfg["actor"]["feature_cache"] = cache
    runner = make_runner(cfg, PointMassEnv(image=True))
    collect(runner)
    called = []
    for name in ("evaluate", "_encode"):
        method = getattr(runner.alg.actor, name)
        setattr(runner.alg.actor, name, lambda *args, m=method, n=name: called.append(n) or m(*args))
    metrics = runner.alg.update()
    assert not called
    assert not {"policy", "entropy", "approx_kl", "clipfrac"} & metrics.keys()
    assert {"value", "grad_norm", "explained_variance"} <= metrics.keys()
    assert metrics["optimizer_steps"] == 6 and metrics["stopped_by_kl"] == 0
    collect(runner)
    assert "policy" in runner.alg.update() and called


def test_critic_warm_up_ends_where_it_did_when_the_actor_was_run_for_nothing():
    """Its loss times 0: the same weights after the warm-up and an iteration, to the last bit."""
    found = []
    for idle in (True, False):
        runner = make_runner(runner_cfg("flow_noise", num_critic_warmup_iterations=1), PointMassEnv())
        alg = runner.alg
        if not idle:
            terms, loss = alg._loss_terms, alg._loss

            def with_policy(micro: TensorDict, alg: Any = alg, terms: Any = terms) -> dict[str, torch.Tensor]:
                return alg._policy_terms(micro, alg.policy.evaluate(micro)) | terms(micro)

            alg._loss_terms = with_policy
            alg._loss = lambda t, alg=alg, loss=loss: loss(t) + (0.0 * t["policy"] if alg._critic_alone else 0.0)
        runner.learn(2)
        found.append(torch.cat([p.detach().flatten() for p in parameters(runner)]))
    assert torch.equal(*found)


def test_critic_epochs_are_steps_on_the_value_loss_alone():
    """With one minibatch an epoch: AdamW's steps by hand, one more than the critic's own; the actor's rate is 0."""
    cfg = runner_cfg(
        "flow_sde_one",
        learning_rate=0.0,
        critic_learning_rate=1e-2,
        num_learning_epochs=1,
        num_mini_batches=1,
        num_critic_epochs=3,
        max_grad_norm=float("inf"),
    )
    runner = make_runner(cfg, PointMassEnv())
    collect(runner)
    alg = runner.alg
    by_hand = copy.deepcopy(alg.critic)
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=1e-2, eps=1e-5, weight_decay=0.0)
    batch, actor = alg.batch.clone(), [p.detach().clone() for p in alg.actor.parameters()]
    for _ in range(4):
        optimizer.zero_grad()
        (0.5 * (by_hand(batch).squeeze(-1) - batch["return"]).square().mean()).backward()
        optimizer.step()
    metrics = alg.update()
    for found, expected in zip(alg.critic.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(alg.actor.parameters(), actor, strict=True))
    assert metrics["optimizer_steps"] == 1 and "policy" in metrics


def test_critic_epochs_touch_neither_policy_nor_curiosity():
    """Whatever they do, the policy's own steps come after them, and are as many as without."""
    runner = make_runner(runner_cfg("flow_sde_one", num_critic_epochs=2), PointMassEnv())
    collect(runner)
    alg, seen, terms = runner.alg, [], runner.alg._loss_terms

    def watch(micro: TensorDict) -> dict[str, torch.Tensor]:
        seen.append("policy" in terms(micro))
        return terms(micro)

    alg._loss_terms = watch
    metrics = alg.update()
    per_epoch, epochs = alg.options.num_mini_batches, alg.options.num_learning_epochs
    assert seen == [False] * 2 * per_epoch + [True] * epochs * per_epoch
    assert metrics["optimizer_steps"] == epochs * per_epoch


def test_target_kl_ends_the_update_before_the_step():
    """A large rate passes the target after some minibatches: the first beyond it is not stepped on, nor any other."""
    cfg = runner_cfg("mlp", learning_rate=0.05, target_kl=0.01, num_learning_epochs=10)
    runner = make_runner(cfg, PointMassEnv(num_envs=8))
    alg = runner.alg
    collect(runner)
    steps, seen, inner = [], [], alg.optimizer.step
    alg.optimizer.step = lambda *args: steps.append(1) or inner(*args)
    terms = alg._loss_terms
    alg._loss_terms = lambda micro: seen.append((t := terms(micro))["approx_kl"].mean().item()) or t
    metrics = alg.update()
    assert metrics["optimizer_steps"] == len(steps) and metrics["stopped_by_kl"] == 1.0
    assert 1 <= len(steps) < 30 and len(seen) == len(steps) + 1
    assert max(seen[:-1]) <= 0.01 < seen[-1]
    assert metrics["approx_kl"] == pytest.approx(sum(seen[:-1]) / len(steps))  # of the steps that were taken


def test_target_kl_that_is_not_reached_stops_nothing():
    runner = make_runner(runner_cfg("mlp", target_kl=1e3), PointMassEnv())
    collect(runner)
    metrics = runner.alg.update()
    assert metrics["optimizer_steps"] == 6 and metrics["stopped_by_kl"] == 0.0


def test_one_absurd_log_ratio_costs_nobody_else_their_gradient():
    """A decision that has become e^100 times likelier, with A > 0, is clipped: the others' gradient is what is left."""
    runner = make_runner(
        runner_cfg("mlp", num_mini_batches=1, num_learning_epochs=1, max_grad_norm=1e9), PointMassEnv()
    )
    collect(runner)
    alg = runner.alg
    alg.optimizer.step = lambda *_: None
    batch = alg.batch.clone()
    batch["log_prob"][0] -= 100.0
    batch["advantage"][0] = 1.0
    metrics = alg._minibatch_step(batch)
    assert metrics is not None and all(value.isfinite() for value in metrics.values())
    found = gradients_of(runner)
    alg.optimizer.zero_grad()
    terms = alg._loss_terms(batch)
    policy = terms["policy"][1:].sum() / len(batch)
    (policy + alg.options.value_loss_coef * terms["value"].mean()).backward()
    for a, b in zip(found, gradients_of(runner), strict=True):
        torch.testing.assert_close(a, b)


def test_recomputed_log_probs_equal_the_stored_ones_in_float32():
    runner = make_runner(runner_cfg("flow_sde_all", recompute_log_probs=True, learning_rate=0.0), PointMassEnv())
    collect(runner)
    before = runner.alg.batch["log_prob"].clone()
    assert runner.alg.update()["approx_kl"] == pytest.approx(0.0, abs=1e-9)
    after = runner.alg.batch["log_prob"]
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)
