# SPDX-License-Identifier: BSD-3-Clause
"""A gradient that is not finite costs its step and nothing else; many in a row end the run with its state on disk."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import PointMassEnv, collect, make_runner, runner_cfg

from gr00t_rl.algorithms.guard import NonFiniteGuard
from gr00t_rl.utils.errors import ConfigurationError
from gr00t_rl.utils.runner_files import check_readable

STEPS = 6  # 2 epochs of 3 minibatches


def poisoned_runner(bad: set[int], folder: Path | None = None, actor: str = "mlp", **algorithm: Any) -> Any:
    """A runner after its rollout, whose losses are NaN in the optimiser steps ``bad``, counted from 0."""
    env = PointMassEnv()
    env.cfg.log_dir = None if folder is None else str(folder)  # type: ignore[attr-defined]
    runner = make_runner(runner_cfg(actor, **algorithm), env)
    collect(runner)
    step, runner.steps = runner.alg._minibatch_step, 0

    def poison(minibatch: Any) -> Any:
        if runner.steps in bad:
            minibatch["advantage"] = minibatch["advantage"] * float("nan")
        runner.steps += 1
        return step(minibatch)

    runner.alg._minibatch_step = poison
    return runner


def learned(runner: Any) -> dict[str, torch.Tensor]:
    """Weights and the optimiser's moments and counts, by name."""
    state = copy.deepcopy(runner.alg.save())
    tensors = {f"{model}.{k}": v for model in ("actor", "critic") for k, v in state[f"{model}_state_dict"].items()}
    for i, moments in state["optimizer_state_dict"]["state"].items():
        tensors |= {f"optimizer.{i}.{k}": v for k, v in moments.items()}
    return {k: v for k, v in tensors.items() if isinstance(v, torch.Tensor) and not k.endswith(NORMALISER)}


NORMALISER = ("_mean", "_var", "_std", "count")  # they learn from the observations, whatever the losses are


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())


@pytest.mark.parametrize("actor", ["mlp", "flow_sde_one"])
def test_bad_steps_change_nothing(actor):
    """All steps bad: weights, moments and step counts are those of before, bit for bit."""
    runner = poisoned_runner(set(range(STEPS)), actor=actor)
    before = learned(runner)
    metrics = runner.alg.update()
    assert runner.steps == STEPS and equal(before, learned(runner))
    assert metrics["nonfinite_steps"] == STEPS
    assert "policy" not in metrics  # there is no loss to report


def test_one_bad_step_equals_leaving_it_out():
    """The other five steps are those of a run that has only these (in the last epoch: evaluating draws numbers)."""
    runner = poisoned_runner({4})
    runner.alg.update()
    other = poisoned_runner(set())
    poisoned, other.steps = other.alg._minibatch_step, 0
    count = iter(range(STEPS))
    other.alg._minibatch_step = lambda minibatch: None if next(count) == 4 else poisoned(minibatch)
    other.alg.update()
    assert equal(learned(runner), learned(other))


def test_metrics_are_those_of_the_steps_that_were_taken():
    runner = poisoned_runner({0, 4}, target_kl=100.0)
    metrics = runner.alg.update()
    assert metrics["nonfinite_steps"] == 2 and metrics["optimizer_steps"] == STEPS - 2
    assert {"policy", "value", "entropy", "approx_kl", "clipfrac", "grad_norm", "explained_variance"} <= metrics.keys()
    assert all(math.isfinite(value) for value in metrics.values()), metrics


def test_each_row_of_bad_steps_is_dumped_once(tmp_path):
    """Two rows in one iteration: two files, each with the minibatch that broke."""
    runner = poisoned_runner({0, 1, 4, 5}, tmp_path)
    number = len(runner.alg.batch)
    runner.alg.update()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["nonfinite_minibatch_0_1.pt", "nonfinite_minibatch_0_2.pt"]
    for file in files:
        minibatch = torch.load(file, weights_only=True)
        assert minibatch["advantage"].isnan().all() and number // 3 <= len(minibatch["advantage"]) <= number // 3 + 1
        assert minibatch["policy"].isfinite().all()


def test_dumps_do_not_fill_the_disk(tmp_path):
    """A run with a bad step now and then keeps the first few minibatches only."""
    guard, (good, bad) = NonFiniteGuard(3, str(tmp_path)), torch.tensor([1.0, float("nan")])
    for iteration in range(50):
        assert not guard.allows(bad, {"x": torch.zeros(1)}, iteration)  # type: ignore[arg-type]
        assert guard.allows(good, {}, iteration)  # type: ignore[arg-type]
    assert guard.total == 50 and len(list(tmp_path.iterdir())) == NonFiniteGuard.MAX_DUMPS


def test_the_run_stops_with_a_state_to_go_on_from(tmp_path):
    """The line names the file; it holds the weights of before, and a new run learns on from it."""
    runner = poisoned_runner(set(range(2, STEPS)), tmp_path, max_nonfinite_steps=3)
    runner.alg.iteration = 12
    with pytest.raises(ConfigurationError, match="3 gradients in a row were not finite") as error:
        runner.alg.update()
    path = tmp_path / "model_12.pt"
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert runner.steps == 5
    check_readable(str(path))
    later = make_runner(runner_cfg(), PointMassEnv(), seed=1)
    later.load(str(path))
    assert equal(learned(later), learned(runner))
    assert later.alg.iteration == later.current_learning_iteration == 12
    later.learn(1)
    assert all(p.isfinite().all() for p in later.alg.parameters())


@pytest.mark.parametrize("case", ["no folder", "disk full", "weights broken"])
def test_stop_without_a_state_to_save(case, tmp_path, monkeypatch):
    """Nothing unusable is written where "latest" would find it; the line points to the checkpoints there are."""
    runner = poisoned_runner(set(range(STEPS)), None if case == "no folder" else tmp_path, max_nonfinite_steps=2)
    if case == "weights broken":
        next(runner.alg.actor.parameters()).data.fill_(float("inf"))
    elif case == "disk full":
        monkeypatch.setattr("gr00t_rl.algorithms.resume.save_whole", _disk_full)
    with pytest.raises(ConfigurationError, match="then start anew: this run has no finite checkpoint"):
        runner.alg.update()
    assert not list(tmp_path.glob("model_*"))


def test_the_newest_file_is_named_where_the_state_cannot_be_saved(tmp_path):
    runner = poisoned_runner(set(range(STEPS)), tmp_path, max_nonfinite_steps=2)
    runner.save(str(tmp_path / "model_0.pt"))
    next(runner.alg.actor.parameters()).data.fill_(float("inf"))
    with pytest.raises(ConfigurationError, match=f"resume from {tmp_path / 'model_0.pt'}, the newest"):
        runner.alg.update()


@pytest.mark.parametrize("broken", ["data", "loss"])
def test_the_advice_follows_the_cause(broken):
    """A learning rate mends no data; gradients of finite data that blow up are one's own doing."""
    runner = poisoned_runner(set(range(STEPS)) if broken == "data" else set(), max_nonfinite_steps=2)
    if broken == "loss":
        loss = runner.alg._loss
        runner.alg._loss = lambda terms: loss(terms) * float("inf")
    with pytest.raises(ConfigurationError) as error:
        runner.alg.update()
    assert ("(advantage), which no learning rate mends" in str(error.value)) == (broken == "data")
    assert ("lower agent.algorithm.learning_rate" in str(error.value)) == (broken == "loss")


def _disk_full(*_: Any) -> None:
    raise OSError("disk full")


def test_good_steps_end_a_row():
    """Two bad steps at a time never reach three."""
    runner = poisoned_runner({0, 1, 3, 4}, max_nonfinite_steps=3)
    runner.alg.update()
    assert runner.alg.guard.total == 4 and runner.alg.guard.in_row == 0
