# SPDX-License-Identifier: BSD-3-Clause
"""Evaluations in the course of a run: what they count, what they leave alone, and which checkpoint is the best."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import PointMassEnv, grpo_cfg, make_runner, parameters, runner_cfg
from planned_env import LENGTH, WIN, PlannedEnv
from recurrent_helpers import recurrent_cfg

from gr00t_rl.utils.errors import ConfigurationError
from gr00t_rl.utils.event_files import read_scalars
from gr00t_rl.utils.kept_checkpoints import BEST_MODEL
from gr00t_rl.utils.stop import Stopped


def cfg_of(kind: str, interval: int | None = 1) -> dict[str, Any]:
    """Settings of an agent by the name that the tests give it."""
    if kind == "grpo":
        cfg = grpo_cfg()
    elif kind == "recurrent":
        cfg = recurrent_cfg()
    else:
        cfg = runner_cfg(kind, reward_scaling=True)
    return cfg | {"evaluation_interval": interval}


def make(kind: str, plan: tuple[int, ...], interval: int | None = 1, folder: Path | None = None, **options: Any) -> Any:
    env = PlannedEnv(plan, group_size=4 if kind == "grpo" else 0, **options)
    env.cfg.log_dir = None if folder is None else str(folder)  # type: ignore[attr-defined]
    return make_runner(cfg_of(kind, interval), env, folder)


def trained(kind: str, plan: tuple[int, ...], iterations: int, interval: int | None = 1) -> Any:
    torch.manual_seed(3)
    runner = make(kind, plan, interval)
    runner.learn(iterations)
    return runner


def weights(runner: Any) -> torch.Tensor:
    models = (m for m in (runner.alg.actor, runner.alg.critic) if m is not None)
    return torch.cat([p.detach().flatten() for m in models for p in m.parameters() if p.requires_grad])


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("*.pt"))


def iteration_of(file: Path) -> int:
    return torch.load(file, weights_only=True)["iter"]


# -- what is counted ---------------------------------------------------------------------------------------------------


def test_first_episodes_are_counted_and_reported_in_their_iteration(tmp_path):
    """Envs that succeed begin another episode while the others play on; nobody looks at it."""
    runner = make("mlp", (1, 3, 4), interval=2, folder=tmp_path)
    runner.learn(4)
    env, scalars = runner.env, read_scalars(tmp_path)
    assert scalars["charts/eval_success_rate"] == {0: 0.25, 2: 0.75, 3: 1.0}  # the last iteration too
    assert scalars["charts/eval_episodes"] == {0: 4, 2: 4, 3: 4}
    expected = {0: (WIN + 3 * LENGTH) / 4, 2: (3 * WIN + LENGTH) / 4, 3: WIN}
    assert scalars["charts/eval_return"] == expected
    assert len(env.evaluated) == LENGTH + LENGTH + WIN  # over as soon as all first episodes are
    assert min(scalars["perf/evaluation"].values()) > 0
    assert all(scalars["perf/evaluation"][i] < scalars["Perf/learning_time"][i] for i in (0, 2, 3))


def test_actions_are_deterministic_and_starts_the_same(tmp_path):
    runner = make("mlp", (0,), interval=1)
    runner.learn(3)
    env, actor = runner.env, runner.alg.actor
    actor.eval()
    obs, action = env.evaluated[-1]  # of the last iteration, whose weights are the present ones
    torch.testing.assert_close(action, actor(obs))
    assert len(env.starts) == 3 and all(torch.equal(start, env.starts[0]) for start in env.starts)


def test_envs_whose_episode_is_over_decide_no_more():
    """Chunks of 3 steps: 4 envs decide at step 0, and at step 3 those two that have not succeeded after 2."""
    runner = make("flow_sde_one", (2,))
    sizes: list[int] = []
    integrate = runner.alg.actor.head.integrate
    runner.alg.actor.head.integrate = lambda field, x0, *others: sizes.append(len(x0)) or integrate(field, x0, *others)
    runner.learn(1)
    assert sizes == [4, 2]
    assert all((action[:2] == 0).all() and (action[2:] != 0).any() for _, action in runner.env.evaluated[WIN:])


def test_an_env_that_reports_no_success_is_judged_by_its_return(tmp_path):
    runner = make("mlp", (4, 0, 2), folder=tmp_path, success=False)
    runner.learn(3)
    scalars = read_scalars(tmp_path)
    assert "charts/eval_success_rate" not in scalars and scalars["charts/eval_return"][1] == LENGTH
    assert iteration_of(tmp_path / BEST_MODEL) == 1


def test_an_episode_that_no_clock_ends_is_cut():
    """A failure whose return counts as far as it went."""
    runner = make("mlp", (1,))
    runner.env.max_episode_length = LENGTH - 1
    metrics: list[dict[str, float]] = []
    look = runner.alg.evaluator.look
    runner.alg.evaluator.look = lambda: metrics.append(look()) or metrics[-1]
    runner.learn(1)
    assert metrics[0]["charts/eval_success_rate"] == 0.25
    assert metrics[0]["charts/eval_return"] == (WIN + 3 * (LENGTH - 1)) / 4


# -- what is left alone ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mlp", "flow_sde_one", "recurrent", "grpo"])
def test_training_does_not_depend_on_how_long_an_evaluation_was(kind):
    """Generators, env counters, reward scaling, memories: the weights are equal to the last bit."""
    short, long = trained(kind, (4,), 3), trained(kind, (0,), 3)
    assert len(short.env.evaluated) == 3 * WIN and len(long.env.evaluated) == 3 * LENGTH
    assert torch.equal(weights(short), weights(long))
    assert short.env.common_step_counter == long.env.common_step_counter == 3 * short.cfg["num_steps_per_env"]
    assert short.alg.actor.training


@pytest.mark.parametrize("kind", ["mlp", "grpo"])
def test_nothing_changes_before_the_first_evaluation(kind):
    """The iteration whose weights it judges is that of a run without evaluations; GRPO's stay so, it resets anyway."""
    for iterations in (1, 3) if kind == "grpo" else (1,):
        with_one, without = (trained(kind, (2,), iterations, interval) for interval in (1, None))
        assert torch.equal(weights(with_one), weights(without))
        assert without.env.resets == [False] * iterations * (kind == "grpo") and True in with_one.env.resets


def test_the_next_iteration_begins_with_a_reset(tmp_path):
    """And rsl_rl's logger does not add the episodes that this breaks off to the next ones."""
    runner = make("mlp", (0,), interval=1, folder=tmp_path, termination=0.0)
    runner.learn(4)
    assert runner.env.resets == [True, False] * 3 + [True]
    assert set(runner.logger.lenbuffer) <= {LENGTH, *range(1, LENGTH)} and max(runner.logger.lenbuffer) == LENGTH
    assert runner.alg.reward_scaler.returns.abs().max() < 10


def test_reset_envs_forget_their_running_return():
    runner = make("mlp", (0,))
    runner.learn(1)
    scaler = runner.alg.reward_scaler
    assert scaler.returns.abs().sum() > 0
    with torch.inference_mode():
        runner.alg.act(runner.env.get_observations())
    assert scaler.returns.abs().sum() == 0


def test_a_request_to_stop_breaks_the_evaluation_off(tmp_path):
    """The iteration is whole: logged, saved where it is due, and the state is that after it, generators included."""

    def ask(step: int) -> None:
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    torch.manual_seed(3)
    runner = make("mlp", (0,), folder=tmp_path, on_step=ask)
    with pytest.raises(Stopped, match="75"):
        runner.learn(3)
    assert len(runner.env.evaluated) == 2 and runner.alg.evaluator.newest is None
    undisturbed = trained("mlp", (0,), 1, interval=None)
    saved = torch.load(tmp_path / "model_1.pt", weights_only=True)["algorithm_state_dict"]
    assert torch.equal(weights(runner), weights(undisturbed)) and saved["iteration"] == 1
    assert torch.equal(saved["rng"]["torch"], undisturbed.alg.save()["algorithm_state_dict"]["rng"]["torch"])
    scalars = read_scalars(tmp_path)
    assert "charts/eval_success_rate" not in scalars and set(scalars["train/policy_loss"]) == {0}
    assert BEST_MODEL not in names(tmp_path)


def test_an_env_without_reset_is_refused():
    runner = make_runner(cfg_of("mlp"), PointMassEnv())
    with pytest.raises(ConfigurationError, match=r"agent.evaluation_interval is 1, but PointMassEnv has no reset"):
        runner.learn(1)


def test_intervals_shorter_than_an_episode_are_told(caplog):
    """Only the begin of episodes would be seen: 7 steps of 20."""
    runner = make("mlp", (0,), max_episode_length=20)
    with caplog.at_level(logging.WARNING):
        runner.learn(1)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "resets all envs every 7 steps, and an episode may have 20" in line and line.endswith("at least 3")


# -- the best ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "best"), [((1, 3, 2), 1), ((3, 1, 3), 2), ((2, 1, 0), 0)], ids=["rise and fall", "ties", "falls"]
)
def test_the_best_is_the_highest_and_of_equals_the_newer(plan, best, tmp_path):
    """Its weights are those of a model_N.pt; each evaluated iteration has one."""
    runner = make("mlp", plan, folder=tmp_path)
    runner.learn(3)
    assert names(tmp_path) == ["model_0.pt", "model_1.pt", "model_2.pt", BEST_MODEL]
    a, b = (torch.load(tmp_path / name, weights_only=True) for name in (BEST_MODEL, f"model_{best}.pt"))
    assert a["iter"] == best and all(
        torch.equal(value, b["actor_state_dict"][name]) for name, value in a["actor_state_dict"].items()
    )
    assert runner.alg.evaluator.best.iteration == best
    if best == 2:
        assert torch.equal(torch.cat([p.flatten() for p in parameters(runner)]), weights(runner))


def test_a_resumed_run_begins_with_the_best_so_far(tmp_path, capsys):
    """Its own evaluations replace it once they are as good. A later best of the old folder is none of its past."""
    first = make("mlp", (3, 1, 4), folder=tmp_path / "first")
    first.learn(3)
    second = make("mlp", (2, 4), folder=tmp_path / "second")
    second.load(str(tmp_path / "first" / "model_1.pt"))
    assert iteration_of(tmp_path / "second" / BEST_MODEL) == 0  # not 2, which came after model_1.pt
    assert "first/model_0.pt (iteration 0) is the best" in capsys.readouterr().out
    second.learn(1)
    assert iteration_of(tmp_path / "second" / BEST_MODEL) == 0
    second.learn(1)
    assert iteration_of(tmp_path / "second" / BEST_MODEL) == 3
    assert iteration_of(tmp_path / "first" / BEST_MODEL) == 2


def test_broken_episodes_make_no_policy_the_best(tmp_path, monkeypatch):
    """Returns alone, and negative ones: -2 and -5 per env. NaN counts as the lowest, and all NaN as nothing."""
    runner = make("mlp", (1, 3, 3, 4), folder=tmp_path, success=False)
    step, broken = runner.env.step, {2: slice(0, 3), 3: slice(None)}  # in the second and third evaluation

    def negative(actions: torch.Tensor) -> Any:
        obs, rewards, dones, extras = step(actions)
        if runner.env.evaluating:
            rewards = -rewards
            rewards[broken.get(runner.env.evaluations, slice(0, 0))] = torch.nan
        return obs, rewards, dones, extras

    monkeypatch.setattr(runner.env, "step", negative)
    runner.learn(1)
    assert runner.alg.evaluator.best.mean_return == -(WIN + 3 * LENGTH) / 4
    runner.learn(1)  # three would have won with -2 each, and are broken; the fourth has -5
    assert runner.alg.evaluator.newest.mean_return == -LENGTH and iteration_of(tmp_path / BEST_MODEL) == 0
    runner.learn(1)
    assert runner.alg.evaluator.newest.mean_return is None and iteration_of(tmp_path / BEST_MODEL) == 0
    runner.learn(1)
    assert runner.alg.evaluator.best.mean_return == -WIN and iteration_of(tmp_path / BEST_MODEL) == 3
    assert read_scalars(tmp_path)["charts/eval_return"].keys() == {0, 1, 3}


def test_a_success_without_a_finite_return_can_be_the_best_and_is_saved(tmp_path, monkeypatch):
    runner = make("mlp", (3,), folder=tmp_path)
    step = runner.env.step

    def broken(actions: torch.Tensor) -> Any:
        obs, rewards, dones, extras = step(actions)
        return obs, rewards * torch.nan if runner.env.evaluating else rewards, dones, extras

    monkeypatch.setattr(runner.env, "step", broken)
    runner.learn(2)
    assert runner.alg.evaluator.best.mean_return is None and runner.alg.evaluator.best.successes == 3
    assert iteration_of(tmp_path / BEST_MODEL) == 1 and "charts/eval_return" not in read_scalars(tmp_path)


@pytest.mark.parametrize(("task", "length"), [("Other-Task", LENGTH), ("Task", LENGTH + 1)])
def test_the_best_of_another_task_is_not_taken_along(task, length, tmp_path, capsys):
    """Its score says nothing here: the first evaluation is the best, though it is worse."""
    first = make("mlp", (4,), folder=tmp_path / "first")
    first.env.unwrapped.spec = SimpleNamespace(id="Task")
    first.learn(1)
    second = make("mlp", (1,), folder=tmp_path / "second", max_episode_length=length)
    second.env.unwrapped.spec = SimpleNamespace(id=task)
    second.load(str(tmp_path / "first" / "model_0.pt"))
    assert second.alg.evaluator.best is None and not (tmp_path / "second" / BEST_MODEL).exists()
    assert (
        f"is not that of this run: {'task Task' if task != 'Task' else 'episode length 5'}, now"
        in capsys.readouterr().out
    )
    second.learn(1)
    assert iteration_of(tmp_path / "second" / BEST_MODEL) == 1


def test_a_resumed_run_whose_best_is_gone_writes_its_first(tmp_path):
    first = make("mlp", (3, 1), folder=tmp_path / "first")
    first.learn(2)
    for name in (BEST_MODEL, "model_0.pt"):
        (tmp_path / "first" / name).unlink()
    second = make("mlp", (1,), folder=tmp_path / "second")
    second.load(str(tmp_path / "first" / "model_1.pt"))
    assert second.alg.evaluator.best is None
    second.learn(1)
    assert iteration_of(tmp_path / "second" / BEST_MODEL) == 2


def test_without_evaluations_there_is_no_best_and_a_known_one_is_passed_on(tmp_path):
    first = make("mlp", (3,), folder=tmp_path / "first")
    first.learn(1)
    second = make("mlp", (1,), interval=None, folder=tmp_path / "second")
    second.load(str(tmp_path / "first" / "model_0.pt"))
    second.learn(1)
    assert names(tmp_path / "second") == ["model_1.pt"]
    assert torch.load(tmp_path / "second" / "model_1.pt", weights_only=True)["algorithm_state_dict"]["best"] == {
        "iteration": 0,
        "episodes": 4,
        "successes": 3,
        "mean_return": (3 * WIN + LENGTH) / 4,
        "conditions": {"episode length": LENGTH},
    }


def test_a_fall_is_told_once(tmp_path, caplog):
    runner = make("mlp", (46, 30, 20), folder=tmp_path, num_envs=50)
    with caplog.at_level(logging.WARNING):
        runner.learn(4)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "success fell from 92 % (iteration 0) to 60 % (iteration 1): the best is kept in model_best.pt" in line
    assert "agent.algorithm.desired_kl" in line and "\n" not in line
