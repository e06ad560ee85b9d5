# SPDX-License-Identifier: BSD-3-Clause
"""A run that is stopped and resumed from its checkpoint goes on as if nothing had happened."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import PointMassEnv, make_runner, runner_cfg

PPO_V2 = {
    "reward_scaling": True,
    "schedule": "linear",
    "critic_schedule": "cosine",
    "use_clipped_value_loss": True,
    "target_kl": 0.5,
}
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp annealed": ("mlp", PPO_V2),
    "mlp adaptive, warming up": ("mlp", PPO_V2 | {"schedule": "adaptive", "num_critic_warmup_iterations": 3}),
    "flow annealed": ("flow_sde_one", PPO_V2),
    "flow adaptive": ("flow_sde_one", {"schedule": "adaptive", "num_learning_epochs": 1}),
    "gaussian flow": ("gaussian", {"reward_scaling": True, "num_learning_epochs": 1}),
}
"""The actor and the options of the algorithm."""


def make(name: str, env: PointMassEnv, iterations: int, seed: int = 0) -> Any:
    actor, options = RUNS[name]
    cfg = runner_cfg(actor, **options)
    cfg["max_iterations"] = iterations
    random.seed(seed)
    np.random.seed(seed)
    return make_runner(cfg, env, seed=seed)


def everything(alg: Any) -> dict[str, Any]:
    """All state of an algorithm by a flat name."""
    flat: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                walk(f"{prefix}.{key}", part)
        elif isinstance(value, list | tuple):
            for i, part in enumerate(value):
                walk(f"{prefix}.{i}", part)
        else:
            flat[prefix] = value

    walk("", copy.deepcopy(alg.save()))
    return flat


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    assert a.keys() == b.keys()
    return [k for k, v in a.items() if not (torch.equal(v, b[k]) if isinstance(v, torch.Tensor) else v == b[k])]


def resumed_run(name: str, path: Path, k: int = 2) -> tuple[Any, Any]:
    """Return an uninterrupted run of 2k iterations, and one that was stopped after k and resumed by new objects."""
    whole = make(name, PointMassEnv(num_envs=5), 2 * k)
    whole.learn(2 * k)

    env = PointMassEnv(num_envs=5)
    stopped = make(name, env, 2 * k)
    stopped.learn(k)
    stopped.save(str(path))
    later = make(name, env, k, seed=7)  # draws from all generators and has other weights
    later.load(str(path))
    assert differences(everything(later.alg), everything(stopped.alg)) == []
    later.learn(k)
    return whole, later


@pytest.mark.parametrize("name", RUNS)
def test_resumed_run_equals_the_uninterrupted_one(name, tmp_path):
    """Weights, optimiser, rates, normalisers, reward moments, counters, generators: all equal, bit for bit."""
    whole, later = resumed_run(name, tmp_path / "model.pt")
    expected = everything(whole.alg)
    assert differences(expected, everything(later.alg)) == []
    assert later.current_learning_iteration == whole.current_learning_iteration == 3
    assert later.alg.learning_rate == whole.alg.learning_rate
    for needed in ("exp_avg_sq", "_mean", "rng.torch", "rng.numpy.1", "rng.python.1", ".iteration"):
        assert any(key.endswith(needed) for key in expected), needed


def test_the_comparison_can_fail(tmp_path):
    """Without its generators' states, the same resumed run is another one."""
    path = tmp_path / "model.pt"
    whole, _ = resumed_run("mlp annealed", path)
    env = PointMassEnv(num_envs=5)
    stopped = make("mlp annealed", env, 4)
    stopped.learn(2)
    later = make("mlp annealed", env, 2, seed=7)
    later.load(str(path))
    torch.manual_seed(5)
    later.learn(2)
    different = differences(everything(whole.alg), everything(later.alg))
    assert any("actor_state_dict" in key for key in different)


# -- rates and numbers of a resumed run --------------------------------------------------------------------------------


def test_annealing_ends_with_the_resumed_run(tmp_path):
    """A finished run that is given 4 more iterations learns in them: half the rate and falling, not a rate of 0."""
    env = PointMassEnv()
    first = make("mlp annealed", env, 4)
    first.learn(4)
    assert first.alg.learning_rate == pytest.approx(1e-3 / 4)
    first.save(str(tmp_path / "model.pt"))
    later = make("mlp annealed", env, 4)
    later.load(str(tmp_path / "model.pt"))
    rates = []
    for _ in range(4):
        later.learn(1)
        rates.append(later.alg.learning_rate)
    assert rates == pytest.approx([1e-3 * share for share in (4 / 8, 3 / 8, 2 / 8, 1 / 8)])


@pytest.mark.parametrize("initial", [1e-5, 1e-3])
def test_a_lower_rate_given_to_a_resumed_adaptive_run_counts(initial, tmp_path):
    """The checkpoint's rate goes on where the new bounds allow it."""
    stopped = make_runner(runner_cfg(schedule="adaptive", learning_rate=1e-3), PointMassEnv())
    stopped.save(str(tmp_path / "model.pt"))
    later = make_runner(runner_cfg(schedule="adaptive", learning_rate=initial), PointMassEnv())
    later.load(str(tmp_path / "model.pt"))
    later.alg.rates.begin_iteration(0)
    assert later.alg.learning_rate == pytest.approx(min(1e-3, 4 * initial))


def test_files_and_log_steps_count_on(tmp_path):
    """rsl_rl itself would do the last iteration's number a second time."""
    env = PointMassEnv()
    first = make_runner(runner_cfg(), env, tmp_path / "first")
    first.learn(2)
    later = make_runner(runner_cfg(), env, tmp_path / "second")
    later.load(str(tmp_path / "first" / "model_1.pt"))
    later.learn(2)
    assert (tmp_path / "second" / "model_3.pt").is_file()
    assert torch.load(tmp_path / "second" / "model_3.pt", weights_only=True)["iter"] == 3


# -- what the env does not keep ----------------------------------------------------------------------------------------


def test_returns_of_episodes_that_are_gone_are_forgotten(tmp_path):
    """An env that starts an episode has earned nothing; one that goes on keeps what it has."""
    env = PointMassEnv(num_envs=4, max_episode_length=50, termination=0.0)
    runner = make_runner(runner_cfg(reward_scaling=True), env)
    runner.learn(1)
    runner.save(str(tmp_path / "model.pt"))
    before = runner.alg.reward_scaler.returns.clone()
    assert (before != 0).all()
    env.episode_length_buf = torch.tensor([0, 3, 0, 9])  # as if envs 0 and 2 had just been reset
    later = make_runner(runner_cfg(reward_scaling=True), env)
    later.load(str(tmp_path / "model.pt"))
    assert torch.equal(later.alg.reward_scaler.returns, before * torch.tensor([0.0, 1.0, 0.0, 1.0]))
    assert torch.equal(later.alg.reward_scaler.moments.m2, runner.alg.reward_scaler.moments.m2)


def test_other_number_of_envs(tmp_path):
    """Moments are kept; the returns belong to envs that do not exist any more."""
    runner = make_runner(runner_cfg(reward_scaling=True), PointMassEnv(num_envs=4))
    runner.learn(1)
    runner.save(str(tmp_path / "model.pt"))
    later = make_runner(runner_cfg(reward_scaling=True), PointMassEnv(num_envs=6))
    later.load(str(tmp_path / "model.pt"))
    assert torch.equal(later.alg.reward_scaler.returns, torch.zeros(6))
    assert torch.equal(later.alg.reward_scaler.moments.count, runner.alg.reward_scaler.moments.count)
    later.learn(1)


def test_step_counter_of_curricula_is_restored(tmp_path):
    """Isaac Lab's envs count their steps for curricula, which would start anew."""
    env, fresh = PointMassEnv(), PointMassEnv()
    env.common_step_counter, fresh.common_step_counter = 1234, 0  # type: ignore[attr-defined]
    make_runner(runner_cfg(), env).save(str(tmp_path / "model.pt"))
    make_runner(runner_cfg(), fresh).load(str(tmp_path / "model.pt"))
    assert fresh.common_step_counter == 1234  # type: ignore[attr-defined]
