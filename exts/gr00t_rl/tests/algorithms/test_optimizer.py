# SPDX-License-Identifier: BSD-3-Clause
"""AdamW by parts: equal to Adam without decay, decay by hand, a part's own settings, and resuming by name."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from helpers import (
    GroupedPointMassEnv,
    PointMassEnv,
    collect,
    gradients_of,
    grpo_cfg,
    make_runner,
    parameters,
    runner_cfg,
)

from gr00t_rl.algorithms.optimizer import actor_parts, load_optimizer, make_optimizer
from gr00t_rl.options import PpoOptions
from gr00t_rl.utils.errors import ConfigurationError


def weights(runner: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in parameters(runner)])


def parts_cfg(head: str = "flow_sde_one", parts: dict[str, Any] | None = None, **algorithm: Any) -> dict[str, Any]:
    return runner_cfg(head, num_learning_epochs=1, num_mini_batches=2, parts=parts or {}, **algorithm)


@pytest.mark.parametrize("actor", ["mlp", "flow_sde_one"])
def test_without_decay_the_steps_are_those_of_adam(actor):
    """To the last bit, also in several groups: seeded runs stay what they were."""
    found = []
    for cls in (torch.optim.AdamW, torch.optim.Adam):
        runner = make_runner(runner_cfg(actor, num_learning_epochs=1), PointMassEnv())
        alg = runner.alg
        if cls is torch.optim.Adam:
            trained = [[p for p in alg.actor.parameters() if p.requires_grad], list(alg.critic.parameters())]
            groups = [{"params": own, "lr": 1e-3, "rate": 1e-3, "part": "critic"} for own in trained]
            alg.optimizer = alg.rates.optimizer = cls(groups, eps=alg.options.adam_eps, fused=True)
            alg.rates.schedules, alg.rates.initial = alg.rates.schedules[-2:], [1e-3] * 2
        runner.learn(2)
        found.append(weights(runner))
    assert torch.equal(*found)


def test_one_step_by_hand():
    """beta = (0.5, 0.75): m = 0.5 g, v = 0.25 g^2; with the corrections 1 - beta the first step is rate * sign(g)."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
    options = PpoOptions(adam_betas=[0.5, 0.75], adam_eps=1e-12, weight_decay=0.1, learning_rate=0.01)
    parts = actor_parts(model, model.parameters(), options)
    optimizer = make_optimizer(parts, options)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.full_like(p, 3.0)
    optimizer.step()
    for name, p in model.named_parameters():
        decay = 0.1 if name == "0.weight" else 0.0  # neither biases nor the norm
        torch.testing.assert_close(p.detach(), before[name] * (1 - 0.01 * decay) - 0.01)
    state = optimizer.state[next(model.parameters())]
    torch.testing.assert_close(state["exp_avg"], torch.full((2, 2), 1.5))
    torch.testing.assert_close(state["exp_avg_sq"], torch.full((2, 2), 2.25))


def test_parts_have_settings_of_their_own():
    parts = {
        "dit": {"learning_rate": 2e-5, "warmup_iterations": 3},
        "projectors": {"weight_decay": 0.1},
        "critic": {"warmup_iterations": 0},
    }
    runner = make_runner(parts_cfg(parts=parts, warmup_iterations=1, critic_learning_rate=5e-3), PointMassEnv())
    groups = runner.alg.optimizer.param_groups
    found = {(g["part"], g["lr"], g["weight_decay"]) for g in groups}
    assert found == {
        ("dit", 2e-5, 0.0),
        ("projectors", 1e-3, 0.1),
        ("projectors", 1e-3, 0.0),
        ("critic", 5e-3, 0.0),
    }
    assert sum(len(g["params"]) for g in groups) == len(parameters(runner))
    assert {id(p) for g in groups for p in g["params"]} == {id(p) for p in parameters(runner)}
    collect(runner)
    metrics = runner.alg.update()
    assert metrics["learning_rate_dit"] == pytest.approx(2e-5 / 4)
    assert metrics["learning_rate_projectors"] == pytest.approx(1e-3 / 2)
    assert metrics["critic_learning_rate"] == 5e-3


def test_a_part_with_rate_0_stays_and_the_others_move():
    runner = make_runner(parts_cfg(parts={"dit": {"learning_rate": 0.0}}), PointMassEnv())
    part = next(part for part in runner.alg.parts if part.name == "dit")
    before = {n: p.detach().clone() for n, p in part.parameters.items()}
    others = weights(runner)
    runner.learn(1)
    assert all(torch.equal(p, before[n]) for n, p in part.parameters.items())
    assert not torch.equal(weights(runner), others)


def test_a_part_is_clipped_before_all_together():
    """|g_dit| is brought to 1e-3, then the joint norm of it and the others' to 0.5."""
    cfg = parts_cfg(parts={"dit": {"max_grad_norm": 1e-3}}, max_grad_norm=0.5)
    cfg["algorithm"]["num_mini_batches"] = 1
    found = {}
    for clips in (True, False):
        if not clips:
            cfg["algorithm"] |= {"parts": {}, "max_grad_norm": float("inf")}
        runner = make_runner(copy.deepcopy(cfg), PointMassEnv())
        alg = runner.alg
        alg.optimizer.step = lambda *_: None
        collect(runner)
        metrics = alg.update()
        found[clips] = {part.name: [p.grad for p in part.parameters.values()] for part in alg.parts}, metrics
    raw, clipped = found[False][0], found[True][0]

    def norm(gradients: list[torch.Tensor]) -> float:
        return torch.cat([g.flatten() for g in gradients]).norm().item()

    assert norm(raw["dit"]) > 1e-3
    assert found[True][1]["grad_norm_dit"] == pytest.approx(norm(raw["dit"]), rel=1e-4)
    joint = sum(norm(g) ** 2 for name, g in raw.items() if name != "dit") + 1e-6
    share = min(1.0, 0.5 / joint**0.5)
    assert found[True][1]["grad_norm"] == pytest.approx(joint**0.5, rel=1e-4)
    assert norm(clipped["dit"]) == pytest.approx(1e-3 * share, rel=1e-3)
    assert norm(clipped["critic"]) == pytest.approx(norm(raw["critic"]) * share, rel=1e-3)


def test_a_part_in_which_nothing_decays():
    """Standard deviations alone: the part has one group, without decay, and learns."""
    runner = make_runner(parts_cfg("gaussian", weight_decay=0.1), PointMassEnv())
    groups = [group for group in runner.alg.optimizer.param_groups if group["part"] == "noise"]
    assert [group["weight_decay"] for group in groups] == [0.0]
    before = runner.alg.actor.head.log_std.detach().clone()
    runner.learn(1)
    assert not torch.equal(runner.alg.actor.head.log_std, before)


def test_a_part_s_bound_does_not_hide_a_norm_that_overflows():
    """Its gradients become zeros; the step is left out all the same."""
    runner = make_runner(parts_cfg(parts={"dit": {"max_grad_norm": 1.0}}, max_nonfinite_steps=5), PointMassEnv())
    alg = runner.alg
    loss, before = alg._loss, weights(runner)
    alg._loss = lambda terms: loss(terms) * 1e30
    collect(runner)
    assert alg.update()["nonfinite_steps"] == 2
    assert torch.equal(weights(runner), before)


def test_a_frozen_parameter_is_waited_for():
    """It has no moments and is not decayed; its part warms up from the iteration in which it begins."""
    cfg = parts_cfg(weight_decay=0.1, warmup_iterations=1)
    cfg["actor"]["unfreeze"] = {"dit": 1}
    runner = make_runner(cfg, PointMassEnv())
    alg = runner.alg
    dit = next(part for part in alg.parts if part.name == "dit").parameters
    before = {n: p.detach().clone() for n, p in dit.items()}
    rates = []
    for iteration in range(3):
        collect(runner)
        alg.update()
        rates.append(next(g["lr"] for g in alg.optimizer.param_groups if g["part"] == "dit"))
        assert all(torch.equal(p, before[n]) for n, p in dit.items()) == (iteration == 0)
        assert (dit[next(iter(dit))] in alg.optimizer.state) == (iteration > 0)
    assert rates == pytest.approx([0.0, 0.5e-3, 1e-3])


@pytest.mark.parametrize(
    ("cfg", "parts", "message"),
    [
        (runner_cfg(), {"dit": {"learning_rate": 1e-5}}, "trains no such part; set one of critic"),
        (grpo_cfg(), {"critic": {"weight_decay": 1e-5}}, "trains no such part"),
        (runner_cfg(), {"critic": {"max_grad_norm": 0.0}}, "agent.algorithm.parts.critic.max_grad_norm is 0.0"),
    ],
)
def test_parts_that_are_not_trained_are_refused(cfg, parts, message):
    cfg["algorithm"]["parts"] = parts
    with pytest.raises(ConfigurationError) as error:
        make_runner(cfg, GroupedPointMassEnv())
    assert message in str(error.value) and "\n" not in str(error.value)


# -- resuming ----------------------------------------------------------------------------------------------------------


def moments(runner: Any) -> dict[str, torch.Tensor]:
    alg = runner.alg
    return {n: alg.optimizer.state[p]["exp_avg"] for part in alg.parts for n, p in part.parameters.items()}


@pytest.mark.parametrize("old", [False, True])
def test_moments_are_restored_by_name_whatever_the_groups(old):
    """A state of before the parts had names, and a run that is given a weight decay; rates are the state's."""
    runner = make_runner(parts_cfg(schedule="adaptive"), PointMassEnv())
    runner.learn(1)
    for group in runner.alg.optimizer.param_groups:
        group["lr"] = group["rate"] = 7e-4 if group["part"] != "critic" else 3e-4
    state = runner.alg.save()
    if old:
        alg = runner.alg
        actor = [p for p in alg.actor.parameters() if p.requires_grad]
        adam = torch.optim.Adam([{"params": actor, "lr": 7e-4}, {"params": alg.critic_parameters, "lr": 3e-4}])
        for p in alg.parameters():
            adam.state[p] = alg.optimizer.state[p]
        state["optimizer_state_dict"] = adam.state_dict()
    later = make_runner(parts_cfg(schedule="adaptive", weight_decay=0.1, adam_betas=[0.95, 0.999]), PointMassEnv())
    assert later.alg.load(state, None, True)
    assert moments(runner).keys() == moments(later).keys()
    for name, moment in moments(runner).items():
        assert torch.equal(moments(later)[name], moment) and moments(later)[name] is not moment, name
    groups = later.alg.optimizer.param_groups
    assert {(g["lr"], g["rate"]) for g in groups} == {(7e-4, 7e-4), (3e-4, 3e-4)}
    assert {g["weight_decay"] for g in groups} == {0.0, 0.1} and groups[0]["betas"] == (0.95, 0.999)
    later.learn(1)


def test_moments_of_other_parameters_are_refused():
    runner = make_runner(runner_cfg(), PointMassEnv())
    state = copy.deepcopy(runner.alg.save())
    state["optimizer_state_dict"]["param_groups"][0]["param_names"][0] = "actor.nosuch"
    with pytest.raises(ConfigurationError, match=r"knows other parameters.*no-resume_optimizer_state") as error:
        runner.alg.load(state, None, True)
    assert "\n" not in str(error.value)


def test_loaded_moments_do_not_share_memory_with_what_was_read():
    runner = make_runner(runner_cfg(), PointMassEnv())
    runner.learn(1)
    state = runner.alg.optimizer.state_dict()
    modules = {"actor": runner.alg.actor, "critic": runner.alg.critic}
    read = {id(v) for entry in state["state"].values() for v in entry.values()}
    load_optimizer(runner.alg.optimizer, state, modules)
    assert not read & {id(v) for entry in runner.alg.optimizer.state.values() for v in entry.values()}
    assert all(g.isfinite().all() for g in gradients_of(runner))
