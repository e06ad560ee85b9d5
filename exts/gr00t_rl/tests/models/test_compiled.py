# SPDX-License-Identifier: BSD-3-Clause
"""The compiled velocity: the same numbers, the same names, no compilation from one iteration to the next."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import torch
from helpers import PointMassEnv, collect, make_runner, parameters, runner_cfg
from torch._dynamo.utils import counters

from gr00t_rl.options import Gr00tActorOptions
from gr00t_rl.utils.errors import ConfigurationError

ITERATIONS = 4


def run(mode: str, head: str = "flow_sde_one", seed: int = 0) -> tuple[Any, list[int], list[dict[str, float]]]:
    """Return the runner after some iterations, the graphs compiled after each, and the metrics.

    Envs end at random, so that another number of them decides each time.
    """
    torch._dynamo.reset()
    counters.clear()
    cfg = runner_cfg(head, num_learning_epochs=1)
    cfg["actor"]["compile"] = mode
    runner = make_runner(cfg, PointMassEnv(num_envs=6, termination=0.3), seed=seed)
    graphs, metrics = [], []
    for _ in range(ITERATIONS):
        collect(runner)
        metrics.append(runner.alg.update())
        graphs.append(counters["stats"]["unique_graphs"])
    return runner, graphs, metrics


@pytest.fixture
def without_inductor(monkeypatch):
    """Traced and differentiated as always, but run by PyTorch's own kernels: seconds in place of minutes."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))


def check(head: str) -> None:
    plain, _, _ = run("off", head)
    fast, graphs, metrics = run("default", head)
    assert 2 <= graphs[0] == graphs[-1] <= 3, graphs  # rollout and update, and what the gaussian head integrates there
    assert not counters["graph_break"]
    assert metrics[0]["gate_ratio_error"] < 1e-5
    for ours, theirs in zip(parameters(fast), parameters(plain), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)
    assert fast.alg.save()["actor_state_dict"].keys() == plain.alg.save()["actor_state_dict"].keys()
    obs = PointMassEnv(num_envs=6).get_observations()
    chunks = []
    for runner in (plain, fast):
        actor = runner.alg.actor
        actor.load_state_dict(plain.alg.actor.state_dict())
        torch.manual_seed(1)
        with torch.inference_mode():
            chunks.append(actor.act_chunk(obs))
    torch.testing.assert_close(*chunks, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["flow_sde_one", "gaussian"])
def test_traced(head, without_inductor):
    check(head)


@pytest.mark.full
def test_compiled():
    """By inductor and the machine's C++ compiler, which takes minutes."""
    check("flow_sde_one")


def test_a_copy_computes_with_its_own_weights_and_an_export_by_itself(without_inductor):
    runner, _, _ = run("default")
    actor, obs = runner.alg.actor, PointMassEnv(num_envs=3).get_observations()
    other = actor.copy()
    with torch.no_grad():
        for p in other.model.action_head.action_decoder.parameters():
            p.zero_()
        torch.manual_seed(0)
        mine = actor.act_chunk(obs)
        torch.manual_seed(0)
        assert not torch.equal(other.act_chunk(obs), mine)
    counters.clear()
    exported = actor.as_onnx()
    exported(*exported.get_dummy_inputs())
    assert not counters["stats"]
    assert copy.deepcopy(actor)._head_velocity is actor._head_velocity


def test_a_machine_without_a_compiler_is_told(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    Gr00tActorOptions.parse({}, "agent.actor")
    with pytest.raises(ConfigurationError, match=r"agent.actor.compile is 'default', but there is no C\+\+ compiler"):
        Gr00tActorOptions.parse({"compile": "default"}, "agent.actor")
