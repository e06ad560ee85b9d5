# SPDX-License-Identifier: BSD-3-Clause
"""PPO through rsl_rl's own runner: what is stored is what is learned from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import (
    ACTORS,
    PointMassEnv,
    collect,
    gradients_of,
    in_float64,
    make_runner,
    parameters,
    runner_cfg,
    velocity_in_float64,
)
from tensordict import TensorDict

from gr00t_rl.algorithms.time_outs import warn_of_missing_final_obs
from gr00t_rl.utils.errors import ConfigurationError


def ratios(runner: Any) -> torch.Tensor:
    """Probability ratio of every stored decision under the current weights."""
    batch = runner.alg.batch.clone()
    with torch.no_grad():
        return (runner.alg.policy.evaluate(batch).log_prob - batch["log_prob"]).exp()


# -- rollout, storage, update ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reuse_buffers", [False, True], ids=["new obs", "reused obs"])
@pytest.mark.parametrize(
    ("actor", "image"), [(name, image) for name in ACTORS for image in (False, True) if name != "mlp" or not image]
)
def test_ratio_is_one_before_the_first_step(actor, image, reuse_buffers):
    """For every stored decision of two iterations with resets in the middle of chunks.

    Also where the env writes its observations into the same tensors at each step: what is stored must be a copy.
    """
    env = PointMassEnv(num_envs=5, image=image, reuse_buffers=reuse_buffers)
    runner = make_runner(runner_cfg(actor, image), env)
    update, seen = runner.alg.update, []

    def check_then_update() -> dict[str, float]:
        seen.append(ratios(runner))
        return update()

    runner.alg.update = check_then_update
    runner.learn(2)
    dones = torch.stack([step["dones"] for step in env.history])
    assert dones.any() and (dones[1] != dones[2]).any()
    for ratio in seen:
        assert len(ratio) >= 5 * (7 if actor == "mlp" else 3)
        assert (ratio - 1).abs().max() < 1e-5
    assert len(seen) == 2


def test_ratio_moves_with_the_weights():
    """The check above can fail."""
    runner = make_runner(runner_cfg("flow_sde_one"), PointMassEnv())
    collect(runner)
    batch = runner.alg.batch.clone()
    runner.alg.update()
    moved = runner.alg.policy.evaluate(batch).log_prob - batch["log_prob"]
    assert moved.abs().max() > 1e-3


def test_decisions_end_with_chunks_resets_and_the_iteration():
    """Durations of one env, read off the env's own history; chunks have 3 steps, the iteration 7."""
    env = PointMassEnv(num_envs=6, termination=0.2)
    runner = make_runner(runner_cfg("flow_sde_one"), env)
    collect(runner)
    expected: list[list[int]] = []
    for i in range(6):
        durations = [0]
        for step in env.history:
            durations[-1] += 1
            if step["dones"][i] or durations[-1] == 3:
                durations.append(0)
        expected.append([d for d in durations if d > 0])
    found = runner.alg.storage.durations
    assert [found[found[:, i] > 0, i].tolist() for i in range(6)] == expected
    assert len(runner.alg.batch) == sum(len(d) for d in expected)
    assert any(d < 3 for env_durations in expected for d in env_durations[:-1])


def test_aligned_decisions_wait_for_each_other():
    """All envs decide before steps 0, 3 and 6 only; steps after a reset are nobody's and their actions are zeros."""
    env = PointMassEnv(num_envs=6, termination=0.2)
    cfg = runner_cfg("flow_sde_one")
    cfg["actor"]["align_decisions"] = True
    runner = make_runner(cfg, env)
    step, played = env.step, []
    env.step = lambda actions: played.append(actions) or step(actions)
    collect(runner)
    dones = torch.stack([step["dones"] for step in env.history]).bool()  # [7, 6]
    rewards = torch.stack([step["rewards"] for step in env.history])
    assert dones[[0, 1, 3, 4]].any(), "no env waits: nothing is tested"
    storage = runner.alg.storage
    assert storage.valid.sum() == 3 * 6
    for slot, start, end in ((0, 0, 3), (1, 3, 6), (2, 6, 7)):
        for i in range(6):
            ended = dones[start:end, i].nonzero()
            length = int(ended[0]) + 1 if len(ended) else end - start
            assert storage.durations[slot, i] == length
            assert storage.discounts[slot, i] == pytest.approx(0.0 if len(ended) else runner.alg.options.gamma**length)
            own = sum(runner.alg.options.gamma**k * rewards[start + k, i] for k in range(length))
            if not env.history[start + length - 1]["time_outs"][i]:
                assert storage.rewards[slot, i] == pytest.approx(float(own), rel=1e-5)
            assert torch.stack(played)[start + length : end, i].abs().sum() == 0.0
    assert not env.__dict__["new_episodes_decide"]  # pictures of new episodes wait for the next decision
    assert (ratios(runner) - 1).abs().max() < 1e-5


def test_env_that_waits_holds_what_its_reset_brought():
    """Training gives the env the hold action of the observation after the reset; what is learned from stays."""
    played, batches = [], []
    for hold in (None, lambda obs: obs["policy"][:, :2] + 100.0):
        cfg = runner_cfg("flow_sde_one")
        cfg["actor"]["align_decisions"] = True
        env = PointMassEnv(num_envs=6, termination=0.2)
        runner = make_runner(cfg, env)
        if hold is not None:
            runner.alg.policy.hold_action = hold
        seen, step = [], env.step
        env.step = lambda actions, seen=seen, step=step, env=env: (
            seen.append((actions.clone(), env.position.clone())) or step(actions)
        )
        collect(runner)
        played.append([torch.stack(values) for values in zip(*seen, strict=True)])
        batches.append(runner.alg.batch)
        dones = torch.stack([step["dones"] for step in env.history]).bool()  # [7, 6]
    (zeros, _), (held, seen) = played
    waits = 0
    for start, end in ((0, 3), (3, 6)):
        for i in range(6):
            for k in dones[start : end - 1, i].nonzero().flatten().tolist()[:1]:
                again = start + k + 1
                assert zeros[again, i].abs().sum() == 0
                torch.testing.assert_close(held[again, i], seen[again, i] + 100.0)
                waits += 1
                if not dones[again, i] and again + 1 < end:
                    assert torch.equal(held[again + 1, i], held[again, i])
    assert waits, "no env waits: nothing is tested"
    first = batches[0]["log_prob"][:6]
    torch.testing.assert_close(batches[1]["log_prob"][:6], first)
    assert (ratios(runner) - 1).abs().max() < 1e-5


def test_all_envs_decide_anew_in_every_iteration():
    runner = make_runner(runner_cfg("flow_sde_one"), env := PointMassEnv(num_envs=4))
    for _ in range(2):
        collect(runner)
        assert runner.alg.storage.rows[:4].tolist() == [0, 1, 2, 3]
        runner.alg.update()
    assert len(env.history) == 14


def test_action_of_the_queue_reaches_the_env():
    """What the env is given are the rows of the stored chunk, in order."""
    env = PointMassEnv(num_envs=2, termination=0.0, max_episode_length=100)
    runner = make_runner(runner_cfg("gaussian"), env)
    given, step = [], env.step
    env.step = lambda actions: given.append(actions.clone()) or step(actions)  # type: ignore[method-assign]
    collect(runner)
    chunks = runner.alg.batch["x_next"][:2, 0, :3, :2]  # the gaussian head's state reached is the action
    torch.testing.assert_close(torch.stack(given[:3], dim=1), chunks)


def test_only_deciding_envs_are_announced_to_image_terms():
    """After each action, the env learns which envs look at the next observation; at the iteration's end, all do."""
    env = PointMassEnv(num_envs=2, termination=0.0, max_episode_length=100)
    runner = make_runner(runner_cfg("flow_sde_one"), env)
    due, step = [], env.step
    env.step = lambda actions: due.append(env.decision_due.tolist()) or step(actions)  # type: ignore
    collect(runner)
    no, yes = [False, False], [True, True]
    assert due == [no, no, yes, no, no, yes, yes]


# -- time-outs ---------------------------------------------------------------------------------------------------------


def test_time_outs_bootstrap_from_the_final_observation():
    """Reward + gamma V(final observation) where an episode timed out, the plain reward elsewhere."""
    env = PointMassEnv(num_envs=6, termination=0.2)
    runner = make_runner(runner_cfg("mlp", gamma=0.9), env)
    collect(runner)
    storage, critic = runner.alg.storage, runner.alg.critic
    assert sum(step["time_outs"].sum() for step in env.history) > 2
    assert any((step["dones"].bool() & ~step["time_outs"]).any() for step in env.history)
    for d, step in enumerate(env.history):
        with torch.no_grad():
            final_value = critic(step["final"]).squeeze(-1)
        expected = step["rewards"] + 0.9 * torch.where(step["time_outs"], final_value, 0.0)
        torch.testing.assert_close(storage.rewards[d], expected)
        torch.testing.assert_close(storage.discounts[d], 0.9 * (1.0 - step["dones"].float()))


def test_time_out_in_the_middle_of_a_chunk():
    """A chunk cut after two of its three steps: r0 + g r1 + g^2 V(final)."""
    env = PointMassEnv(num_envs=1, termination=0.0, max_episode_length=2)
    runner = make_runner(runner_cfg("flow_sde_one", num_steps=2, gamma=0.5), env)
    collect(runner)
    first, second = env.history
    with torch.no_grad():
        value = runner.alg.critic(second["final"]).item()
    expected = first["rewards"].item() + 0.5 * second["rewards"].item() + 0.25 * value
    assert runner.alg.storage.rewards[0].item() == pytest.approx(expected, rel=1e-5)
    assert runner.alg.storage.discounts[0].item() == 0.0


def test_without_final_observations_returns_are_those_of_stock_ppo():
    """For decisions of one step, an env whose time-outs are floats, and ends of both kinds."""
    runners = []
    for class_name in ("PPO", "gr00t_rl.algorithms:PPO"):
        cfg = runner_cfg("mlp", gamma=0.9, lam=0.8)
        cfg["algorithm"]["class_name"] = class_name
        for model in ("actor", "critic"):
            cfg[model]["obs_normalization"] = False  # rsl_rl 5.4 moves the moments at every step
        runners.append(make_runner(cfg, PointMassEnv(6, max_episode_length=3, termination=0.2, final_obs=False)))
    stock, ours = runners
    for model in ("actor", "critic"):
        getattr(ours.alg, model).load_state_dict(getattr(stock.alg, model).state_dict())
    for runner in runners:
        step = runner.env.step

        def float_time_outs(actions: torch.Tensor, step: Any = step) -> Any:
            obs, rewards, dones, extras = step(actions)
            return obs, rewards, dones.float(), {"time_outs": extras["time_outs"].float()}

        runner.env.step = float_time_outs
        torch.manual_seed(0)
        collect(runner)
    time_outs = torch.stack([step["time_outs"] for step in ours.env.history])
    terminated = torch.stack([step["dones"].bool() for step in ours.env.history]) & ~time_outs
    assert time_outs[:-1].sum() > 2 and terminated.any()
    assert torch.equal(ours.alg.batch["action"].view(7, 6, 2), stock.alg.storage.actions)
    torch.testing.assert_close(ours.alg.batch["return"].view(7, 6, 1), stock.alg.storage.returns)


def test_time_out_in_the_middle_of_a_chunk_without_final_observation():
    """A chunk cut after two of its three steps: r0 + g r1 + g^2 V(where the chunk began)."""
    env = PointMassEnv(num_envs=1, termination=0.0, max_episode_length=2, final_obs=False)
    runner = make_runner(runner_cfg("flow_sde_one", num_steps=2, gamma=0.5), env)
    collect(runner)
    value = runner.alg.batch["value"][0].item()
    expected = env.history[0]["rewards"].item() + 0.5 * env.history[1]["rewards"].item() + 0.25 * value
    assert value != 0.0 and runner.alg.storage.rewards[0].item() == pytest.approx(expected, rel=1e-5)


def test_one_warning_says_what_a_missing_final_observation_costs(caplog):
    warn_of_missing_final_obs.cache_clear()
    make_runner(runner_cfg("mlp"), PointMassEnv()).learn(1)
    assert not caplog.records
    for _ in range(2):
        make_runner(runner_cfg("mlp"), PointMassEnv(final_obs=False)).learn(2)
    (record,) = caplog.records
    assert "biased" in record.getMessage() and "set env.compute_final_obs=True" in record.getMessage()
    assert "\n" not in record.getMessage()


# -- updates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actor", ["mlp", "gaussian"])
def test_micro_batch_gradients_equal_full_batch_gradients(actor):
    """In float64, for pieces of 3 that do not divide the batch, with all loss terms on."""
    gradients = []
    for micro_batch_size in (None, 3, 1000):
        cfg = runner_cfg(
            actor,
            num_learning_epochs=1,
            num_mini_batches=1,
            entropy_coef=0.01,
            max_grad_norm=1e9,
            use_clipped_value_loss=True,
            micro_batch_size=micro_batch_size,
        )
        runner = make_runner(cfg, PointMassEnv(num_envs=5))
        collect(runner)
        assert len(runner.alg.batch) % 3 != 0
        in_float64(runner)
        if actor == "gaussian":
            # the network's velocities are float32; the same layers in float64 need the cast removed
            runner.alg.actor.velocity_of = velocity_in_float64(runner.alg.actor)
        runner.alg.optimizer.step = lambda *_: None
        runner.alg.update()
        gradients.append(gradients_of(runner))
    assert max(g.abs().max() for g in gradients[0]) > 1e-3
    for other in gradients[1:]:
        for a, b in zip(gradients[0], other, strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)


def record_samples(runner: Any) -> list[list[int]]:
    """Number the batch's decisions, and note the numbers that each call of ``evaluate`` sees."""
    batch = runner.alg.batch = runner.alg.batch.clone()
    batch["number"] = torch.arange(len(batch))
    evaluate, seen = runner.alg.policy.evaluate, []

    def noting(record: TensorDict) -> Any:
        if torch.is_grad_enabled():
            seen.append(record["number"].tolist())
        return evaluate(record)

    runner.alg.policy.evaluate = noting
    return seen


@pytest.mark.parametrize("micro_batch_size", [None, 2])
def test_every_decision_is_used_once_per_epoch_in_a_new_order(micro_batch_size):
    cfg = runner_cfg("flow_sde_one", num_learning_epochs=3, num_mini_batches=3, micro_batch_size=micro_batch_size)
    runner = make_runner(cfg, PointMassEnv(num_envs=5))
    collect(runner)
    runner.alg.gate.passed = True  # it would score some decisions once more
    seen = record_samples(runner)
    number = len(runner.alg.batch)
    assert number % 3 != 0
    runner.alg.update()
    flat = [i for part in seen for i in part]
    epochs = [flat[i * number : (i + 1) * number] for i in range(3)]
    assert len(flat) == 3 * number
    for epoch in epochs:
        assert sorted(epoch) == list(range(number))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert epochs[0] != sorted(epochs[0])
    if micro_batch_size is not None:
        assert max(len(part) for part in seen) == micro_batch_size


# -- runs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actor", ["mlp", "flow_sde_one"])
def test_runs_with_one_seed_are_identical(actor):
    runs = []
    for seed in (0, 0, 1):
        runner = make_runner(runner_cfg(actor), PointMassEnv(), seed=seed)
        runner.learn(2)
        runs.append(torch.cat([p.detach().flatten() for p in parameters(runner)]))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("actor", ["mlp", "flow_sde_one", "gaussian"])
def test_save_load_and_learn_on(actor, tmp_path):
    runner = make_runner(runner_cfg(actor, schedule="adaptive"), PointMassEnv())
    runner.learn(2)
    runner.save(str(tmp_path / "model.pt"))
    other = make_runner(runner_cfg(actor, schedule="adaptive"), PointMassEnv(), seed=1)
    other.load(str(tmp_path / "model.pt"))
    assert other.current_learning_iteration == runner.current_learning_iteration == 1
    assert other.alg.iteration == runner.alg.iteration == 2
    assert other.alg.learning_rate == runner.alg.learning_rate != 1e-3
    for model in ("actor", "critic"):
        ours, theirs = getattr(runner.alg, model).state_dict(), getattr(other.alg, model).state_dict()
        for key, value in ours.items():
            assert torch.equal(value, theirs[key]) if isinstance(value, torch.Tensor) else value == theirs[key], key
    moments = [alg.optimizer.state_dict()["state"] for alg in (runner.alg, other.alg)]
    assert len(moments[0]) > 0
    for index, state in moments[0].items():
        assert torch.equal(state["exp_avg"], moments[1][index]["exp_avg"])
    before = [p.detach().clone() for p in parameters(other)]
    other.learn(1)
    assert other.current_learning_iteration == 2
    assert any(not torch.equal(a, b) for a, b in zip(before, parameters(other), strict=True))


def test_checkpoint_of_another_agent_is_explained(tmp_path):
    make_runner(runner_cfg("flow_sde_one"), PointMassEnv()).save(str(tmp_path / "model.pt"))
    with pytest.raises(ConfigurationError, match="does not fit this agent") as error:
        make_runner(runner_cfg("mlp"), PointMassEnv()).load(str(tmp_path / "model.pt"))
    assert "\n" not in str(error.value)


def test_actor_alone_can_be_loaded(tmp_path):
    """rsl_rl's ``load_cfg``: a new critic and optimiser on an old actor."""
    runner = make_runner(runner_cfg("mlp"), PointMassEnv())
    runner.learn(1)
    runner.save(str(tmp_path / "model.pt"))
    other = make_runner(runner_cfg("mlp"), PointMassEnv(), seed=1)
    critic = {k: v.clone() for k, v in other.alg.critic.state_dict().items()}
    other.load(str(tmp_path / "model.pt"), load_cfg={"actor": True})
    assert all(torch.equal(v, other.alg.actor.state_dict()[k]) for k, v in runner.alg.actor.state_dict().items())
    assert all(torch.equal(v, other.alg.critic.state_dict()[k]) for k, v in critic.items())
    assert (other.current_learning_iteration, other.alg.iteration) == (0, 0)


def mean_reward(runner: Any, steps: int = 40) -> float:
    """Mean reward per step of the deterministic policy in fresh envs, without early ends."""
    env = PointMassEnv(num_envs=64, max_episode_length=20, termination=0.0, seed=123)
    policy = runner.get_inference_policy("cpu")
    policy.reset(torch.ones(64))
    total, obs = 0.0, env.get_observations()
    with torch.inference_mode():
        for _ in range(steps):
            obs, rewards, dones, _ = env.step(policy(obs))
            policy.reset(dones)
            total += rewards.mean().item()
    return total / steps


def test_mlp_learns_the_point_mass():
    """From standing still (-0.77 per step) most of the way to the best possible (about -0.15)."""
    env = PointMassEnv(num_envs=32, max_episode_length=20, termination=0.0)
    cfg = runner_cfg("mlp", num_steps=16, learning_rate=3e-3, num_learning_epochs=4, num_mini_batches=4)
    runner = make_runner(cfg, env)
    before = mean_reward(runner)
    runner.learn(25)
    after = mean_reward(runner)
    assert before < -0.6
    assert after > -0.35


@pytest.mark.slow
def test_flow_sde_learns_the_point_mass():
    """The tiny GR00T network with the Flow-SDE head, from random weights: about -0.2, as good as the MLP."""
    env = PointMassEnv(num_envs=128, max_episode_length=20, termination=0.0)
    cfg = runner_cfg(
        "flow_sde_one",
        num_steps=12,
        num_learning_epochs=4,
        learning_rate=3e-4,
        critic_learning_rate=3e-3,
        schedule="adaptive",
        desired_kl=0.1,
    )
    cfg["actor"] |= {"noise_level": 0.5, "init_noise_scale": 0.0, "num_inference_timesteps": 2}
    runner = make_runner(cfg, env)
    before = mean_reward(runner)
    runner.learn(40)
    after = mean_reward(runner)
    assert before < -0.6
    assert after > -0.45
