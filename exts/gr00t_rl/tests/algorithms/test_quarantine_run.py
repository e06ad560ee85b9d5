# SPDX-License-Identifier: BSD-3-Clause
"""Whole runs with bad envs: what is told and kept of them, when they stop the run, and envs that do not help."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import Fault, FaultyEnv, FaultyGroupedEnv, grpo_cfg, make_runner, runner_cfg

from gr00t_rl.algorithms.dumps import EnvDumps
from gr00t_rl.utils.errors import ConfigurationError
from gr00t_rl.utils.finite import find_nonfinite

NAN, INF = float("nan"), float("inf")


def run(env: FaultyEnv, iterations: int, cfg: dict[str, Any] | None = None, folder: Path | None = None) -> list[dict]:
    """The metrics of a run of rsl_rl's own loop, and what its logger wrote under "logged"."""
    env.cfg.log_dir = None if folder is None else str(folder)  # type: ignore[attr-defined]
    runner = make_runner(runner_cfg() if cfg is None else cfg, env, folder)
    metrics: list[dict] = []
    update, begin = runner.alg.update, runner.logger.init_logging_writer

    def watch() -> None:
        begin()
        if runner.logger.writer is not None:
            runner.logger.writer.add_scalar = lambda tag, value, it: metrics[it].update({tag: float(value)})

    runner.alg.update = lambda: metrics.append(update()) or dict(metrics[-1])
    runner.logger.init_logging_writer = watch
    runner.learn(iterations)
    assert find_nonfinite(runner.alg.save()) is None
    return metrics


def test_rsl_rl_goes_on_and_reports_finite_numbers(tmp_path, caplog):
    """NaN in observations ends a run of rsl_rl's own PPO; its logger must not add one up either."""
    faults = [Fault("policy", NAN, 3, 1), Fault("reward", NAN, 9, 2), Fault("reward", -INF, 17, 0)]
    with caplog.at_level(logging.WARNING):
        metrics = run(FaultyEnv(faults=faults), 4, folder=tmp_path)
    assert [m["nonfinite_envs"] for m in metrics] == [m["Loss/nonfinite_envs"] for m in metrics] == [1, 1, 1, 0]
    bad = {name: value for m in metrics for name, value in m.items() if not math.isfinite(value)}
    assert not bad
    assert "Train/mean_reward" in metrics[-1]
    lines = [record.getMessage() for record in caplog.records if record.name.endswith("dumps")]
    assert len(lines) == 3 and "env 1: policy" in lines[0] and "env 2: reward" in lines[1]
    assert all("\n" not in line and "nonfinite_env_" in line for line in lines)


def test_a_number_too_large_to_square_is_left_out():
    """Observation moments would be infinite for ever."""
    metrics = run(FaultyEnv(faults=[Fault("policy", 1e25, 3, 1), Fault("reward", 1e30, 5, 2)]), 2)
    assert [m["nonfinite_envs"] for m in metrics] == [2, 0]


def test_log_entries_that_are_not_finite_are_left_out():
    """Isaac Lab reports sums over an episode when it ends: of a bad env they are NaN then."""

    class Sums(FaultyEnv):
        def step(self, actions: torch.Tensor) -> Any:
            obs, rewards, dones, extras = super().step(actions)
            extras["log"]["Episode_Reward/progress"] = torch.tensor(NAN if self.steps == 5 else 1.0)
            return obs, rewards, dones, extras

    runner = make_runner(runner_cfg(), Sums(faults=[Fault("policy", NAN, 3, 1)]))
    obs = runner.env.get_observations()
    for step in range(7):
        obs, rewards, dones, extras = runner.env.step(runner.alg.act(obs).detach())
        runner.alg.process_env_step(obs, rewards, dones, extras)
        assert ("Episode_Reward/progress" in extras["log"]) == (step != 4), step
        assert "charts/success_rate" in extras["log"]


@pytest.mark.parametrize("algorithm", ["ppo", "grpo"])
def test_groups_that_nobody_reads_may_hold_anything(algorithm):
    """GRPO reads no critic group; both ignore one that the agent does not name."""

    class More(FaultyGroupedEnv if algorithm == "grpo" else FaultyEnv):  # type: ignore[misc]
        def _observe(self, fresh: bool = False) -> Any:
            obs = super()._observe(fresh)
            obs["debug"] = torch.full((self.num_envs, 1), NAN)
            return obs

    fault = Fault("critic" if algorithm == "grpo" else "debug", NAN, 2, 1)
    env = More(8 if algorithm == "grpo" else 4, faults=[fault])
    assert run(env, 1, grpo_cfg() if algorithm == "grpo" else None)[0]["nonfinite_envs"] == 0


# -- envs that do not help --------------------------------------------------------------------------------------------


class Stubborn(FaultyEnv):
    """Its episodes end when it likes, whatever is written to its clock, and what is broken stays so until then."""

    def __init__(self, ends_at: int, **options: Any) -> None:
        super().__init__(termination=0.0, max_episode_length=1000, **options)
        self.ends_at = ends_at

    def step(self, actions: torch.Tensor) -> Any:
        self.episode_length_buf = torch.zeros_like(self.episode_length_buf)
        obs, rewards, dones, extras = super().step(actions)
        first = self.faults[0]
        if first.step < self.steps - 1 < self.ends_at:
            obs["policy"][first.env], rewards[first.env] = NAN, NAN
        dones[first.env] = int(self.steps - 1 == self.ends_at)
        return obs, rewards, dones, extras


def test_without_a_clock_an_env_rests_until_its_own_reset():
    """Broken from step 3 of the first iteration to step 2 of the third, in iterations of seven."""
    env = Stubborn(16, faults=[Fault("policy", NAN, 3, 1)])
    runner = make_runner(runner_cfg(), env)
    rested: list[bool] = []
    process = runner.alg.process_env_step
    runner.alg.process_env_step = lambda *args: process(*args) or rested.append(bool(runner.alg.quarantine.resting[1]))
    metrics: list[dict] = []
    update = runner.alg.update
    runner.alg.update = lambda: metrics.append(update()) or metrics[-1]
    runner.learn(4)
    assert rested == [3 <= step < 16 for step in range(28)]
    assert [m["nonfinite_envs"] for m in metrics] == [1, 1, 1, 0]
    assert [m["perf/decisions"] for m in metrics] == [28 - 4, 28 - 7, 28 - 3, 28]


def test_aligned_chunks():
    """Where all decide together, a bad env waits for the others; two decisions of it are lost at most."""
    cfg = runner_cfg("flow_sde_one", num_steps=12)
    cfg["actor"]["align_decisions"] = True
    for step in (1, 2, 11):  # in the middle of a chunk, at its end, at the iteration's
        env = FaultyEnv(4, 1000, 0.0, faults=[Fault("policy", NAN, step, 1)])
        decisions = [m["perf/decisions"] for m in run(env, 2, cfg)]
        assert decisions[1] == 16 - (step == 11) and 14 <= decisions[0] <= 15, (step, decisions)


def test_curiosity_never_sees_it():
    """Its own moments and predictor stay finite; it reads the critic's group here."""
    networks = {"num_outputs": 4, "predictor_hidden_dims": [16], "target_hidden_dims": [16]}
    cfg = runner_cfg(rnd_cfg={**networks, "weight": 1.0, "reward_normalization": True, "state_normalization": True})
    cfg["obs_groups"]["rnd_state"] = ["critic"]
    runner = make_runner(cfg, FaultyEnv(faults=[Fault("critic", NAN, 2, 1), Fault("policy", INF, 4, 2)]))
    runner.learn(2)
    assert find_nonfinite(runner.alg.save()) is None and "rnd_state_dict" in runner.alg.save()
    assert runner.alg.rnd.reward_normalizer.disc_avg.avg.isfinite().all()


# -- files ------------------------------------------------------------------------------------------------------------


class Scene:
    """A scene whose state is where the points are."""

    def __init__(self, env: FaultyEnv) -> None:
        self.env = env

    def get_state(self, is_relative: bool) -> dict[str, Any]:
        assert is_relative
        return {"rigid_object": {"point": {"root_pose": self.env.position.clone()}}}


def test_a_dump_holds_what_a_replay_needs(tmp_path):
    """From the state before the step the actions lead to the observation that was reported."""
    env = FaultyEnv(termination=0.0, max_episode_length=100, faults=[Fault("critic", INF, 9, 2)])
    env.scene = Scene(env)  # type: ignore[attr-defined]
    run(env, 2, folder=tmp_path)
    (path,) = tmp_path.glob("nonfinite_env_*")
    assert path.name == "nonfinite_env_1_1.pt"
    dump = torch.load(path, weights_only=True)
    assert dump["env_ids"].tolist() == [2] and (dump["iteration"], dump["step"]) == (1, 2)
    before, after = (dump[k]["rigid_object"]["point"]["root_pose"] for k in ("state", "state_after"))
    torch.testing.assert_close(before + 0.2 * dump["actions"].clamp(-1.0, 1.0), after)
    torch.testing.assert_close(dump["observations"]["policy"], after)
    assert dump["observations"]["critic"][0, 0] == INF


def test_dumps_are_few(tmp_path):
    """Five cases, eight envs each, whatever follows; the metric goes on counting."""
    faults = [Fault("reward", NAN, step, env) for step in range(1, 14, 2) for env in range(10)]
    cfg = runner_cfg(max_nonfinite_envs=1.0)
    metrics = run(FaultyEnv(16, termination=0.0, max_episode_length=100, faults=faults), 2, cfg, tmp_path)
    assert [m["nonfinite_envs"] for m in metrics] == [10, 10]
    files = list(tmp_path.glob("nonfinite_env_*"))
    assert len(files) == EnvDumps.MAX_DUMPS
    assert all(len(torch.load(file, weights_only=True)["env_ids"]) == EnvDumps.MAX_ENVS for file in files)


@pytest.mark.parametrize("trouble", ["scene", "disk"])
def test_evidence_that_cannot_be_had_costs_nothing(trouble, tmp_path, monkeypatch):
    env = FaultyEnv(faults=[Fault("reward", NAN, 2, 1)])
    if trouble == "scene":
        env.scene = SimpleNamespace(get_state=lambda **_: 1 / 0)  # type: ignore[attr-defined]
    else:
        monkeypatch.setattr("gr00t_rl.algorithms.dumps.save_whole", lambda *_: (_ for _ in ()).throw(OSError("full")))
    assert run(env, 1, folder=tmp_path)[0]["nonfinite_envs"] == 1
    assert len(list(tmp_path.glob("nonfinite_env_*"))) == (trouble == "scene")


# -- when a run stops -------------------------------------------------------------------------------------------------


def faults_of(envs: list[int], steps: list[int]) -> list[Fault]:
    return [Fault("reward", NAN, step, env) for step in steps for env in envs]


@pytest.mark.parametrize("algorithm", ["ppo", "grpo"])
def test_too_many_at_once(algorithm, tmp_path):
    """5 of 8 is more than half; the state before the update is on disk and can be resumed from."""
    env = (FaultyGroupedEnv if algorithm == "grpo" else FaultyEnv)(8, faults=faults_of([0, 2, 3, 5, 6], [0]))
    with pytest.raises(ConfigurationError) as error:
        run(env, 3, grpo_cfg() if algorithm == "grpo" else None, tmp_path)
    line = str(error.value)
    assert (
        "5 of 8 envs were not finite in iteration 0, more than the share agent.algorithm.max_nonfinite_envs=0.5" in line
    )
    assert str(tmp_path / "model_0.pt") in line and "nonfinite_env_0_1.pt" in line and "\n" not in line
    runner = make_runner(grpo_cfg() if algorithm == "grpo" else runner_cfg(), type(env)(8))
    runner.load(str(tmp_path / "model_0.pt"))
    runner.learn(1)


@pytest.mark.parametrize(("share", "stops"), [(0.25, False), (0.2, True), (0.0, True)])
def test_share(share, stops):
    env = FaultyEnv(faults=faults_of([1], [3]))
    if stops:
        with pytest.raises(ConfigurationError, match="1 of 4 envs"):
            run(env, 1, runner_cfg(max_nonfinite_envs=share))
    else:
        run(env, 1, runner_cfg(max_nonfinite_envs=share))


def test_the_same_env_again_and_again():
    """Iterations are seven steps long: env 2 breaks in each of the first three, others now and then."""
    faults = faults_of([2], [1, 8, 15]) + faults_of([0], [2]) + faults_of([1], [9])
    with pytest.raises(ConfigurationError, match="env 2 was not finite in 3 iterations in a row"):
        run(FaultyEnv(faults=faults), 5, runner_cfg(max_nonfinite_iterations=3))
    assert len(run(FaultyEnv(faults=faults), 5, runner_cfg(max_nonfinite_iterations=4))) == 5
    late = faults_of([2], [1, 8, 22])  # with a good one in between
    assert len(run(FaultyEnv(faults=late), 5, runner_cfg(max_nonfinite_iterations=3))) == 5


@pytest.mark.parametrize("algorithm", ["ppo", "grpo"])
def test_nothing_left(algorithm):
    """All envs broken in every step, and the share allows it: there is nothing to learn from."""
    if algorithm == "grpo":
        env: Any = FaultyGroupedEnv(8, faults=faults_of(list(range(8)), [0]))
        cfg = grpo_cfg(max_nonfinite_envs=1.0)
    else:
        env, cfg = FaultyEnv(faults=faults_of(list(range(4)), list(range(7)))), runner_cfg(max_nonfinite_envs=1.0)
    with pytest.raises(ConfigurationError, match="no finite decision is left of iteration 0"):
        run(env, 1, cfg)


def test_a_group_with_one_good_episode_teaches_nothing():
    """Of the second group three episodes break: its last one is not learned from, the first group is."""
    cfg = grpo_cfg()
    runner = make_runner(cfg, FaultyGroupedEnv(8, faults=faults_of([4, 5, 7], [0])))
    alg, env = runner.alg, runner.env
    alg.train_mode()
    obs = env.get_observations()
    with torch.inference_mode():
        for _ in range(runner.cfg["num_steps_per_env"]):
            obs, rewards, dones, extras = env.step(alg.act(obs))
            alg.process_env_step(obs, rewards, dones, extras)
        alg.compute_returns(obs)
    assert set(alg.batch["episode"].tolist()) == {0, 1, 2, 3, 6}
    alone = alg.batch["episode"] == 6
    assert not alg.batch["informative"][alone].any() and alg.batch["informative"][~alone].all()
    assert (alg.batch["advantage"][alone] == 0).all()
    metrics = alg.update()
    assert metrics["frac_zero_std"] == 0.5 and all(map(math.isfinite, metrics.values()))


def test_ranks_stop_together(monkeypatch):
    """Another rank reports 6 bad ones of its 8, or an env that lasts: this one, with 1 of 4, stops as well."""
    for others, message in (
        ([6, 8, 0, 0], "7 of 12 envs"),
        ([1, 8, 1, 0], "env of another rank"),
        ([1, 8, 0, 0], None),
    ):
        runner = make_runner(runner_cfg(), FaultyEnv())
        quarantine = runner.alg.quarantine
        quarantine.world_size = 2
        quarantine.caught[1] = True
        runner.alg.storage.open(torch.arange(4), runner.env.get_observations())
        monkeypatch.setattr("torch.distributed.all_reduce", lambda x, o=others: x.add_(torch.tensor(o)))
        if message is None:
            quarantine.settle(3, runner.alg.storage)
            assert quarantine.count == 2
        else:
            with pytest.raises(ConfigurationError, match=message):
                quarantine.settle(3, runner.alg.storage)
