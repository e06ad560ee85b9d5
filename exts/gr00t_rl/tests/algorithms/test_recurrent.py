# SPDX-License-Identifier: BSD-3-Clause
"""Recurrent models: what the update replays is what the rollout did, and it teaches what a memory is needed for."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from helpers import GroupedPointMassEnv, PointMassEnv, collect, grpo_cfg, make_runner, runner_cfg
from recurrent_helpers import ByHand, CueEnv, collect_with_obs, recurrent_cfg, recurrent_model
from tensordict import TensorDict

from gr00t_rl.models import RecurrentStepPolicy, StepPolicy
from gr00t_rl.utils.errors import ConfigurationError

BOTH_KINDS = pytest.mark.parametrize("rnn_type", ["lstm", "gru"])


def replayed(alg: Any, batch: TensorDict) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities and values of stored decisions under the current weights, [B] each."""
    with torch.no_grad():
        return alg.policy.evaluate(batch).log_prob, alg.memory.replay(alg.critic, batch).squeeze(-1)


# -- exactness ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["both", "actor", "critic"])
@BOTH_KINDS
def test_ratio_is_one_and_values_are_unchanged_before_the_first_step(rnn_type, who):
    """For every stored decision, in any order, of three iterations with episodes that end in the middle."""
    env = PointMassEnv(num_envs=5)
    runner = make_runner(recurrent_cfg(rnn_type, who), env)
    alg, seen = runner.alg, []
    assert type(alg.policy) is (StepPolicy if who == "critic" else RecurrentStepPolicy)
    update = alg.update

    def check_then_update() -> dict[str, float]:
        batch = alg.batch[torch.randperm(len(alg.batch))]
        log_prob, value = replayed(alg, batch)
        seen.append(((log_prob - batch["log_prob"]).exp() - 1).abs().max())
        torch.testing.assert_close(value, batch["value"], atol=1e-5, rtol=1e-5)
        assert len(batch) == 5 * 7
        return update()

    alg.update = check_then_update
    runner.learn(3)
    dones = torch.stack([step["dones"] for step in env.history]).bool()
    assert dones[:-1].any(0).all() and not dones[6].all(), "no episode ends in the middle or crosses iterations"
    assert len(seen) == 3 and max(seen) <= 1e-5


def test_ratio_moves_with_the_weights():
    """The check above can fail."""
    runner = make_runner(recurrent_cfg(), PointMassEnv())
    collect(runner)
    batch = runner.alg.batch.clone()
    runner.alg.update()
    assert (replayed(runner.alg, batch)[0] - batch["log_prob"]).abs().max() > 1e-3


@BOTH_KINDS
def test_states_start_at_zero_end_with_episodes_and_cross_iterations(rnn_type):
    """Log-probabilities and values equal those of torch's own layers, one env and one step at a time."""
    env = PointMassEnv(num_envs=5)
    runner = make_runner(recurrent_cfg(rnn_type), env)
    alg = runner.alg
    actor, critic = ByHand(alg.actor, 5), ByHand(alg.critic, 5)
    for iteration in range(2):
        seen, dones = collect_with_obs(runner)
        batch = alg.batch
        log_prob, value = replayed(alg, batch)
        for t, (obs, done) in enumerate(zip(seen, dones, strict=True)):
            rows = slice(5 * t, 5 * t + 5)
            mean = actor(obs)
            std = alg.actor.distribution.log_std_param.detach().exp().expand_as(mean)
            expected = torch.distributions.Normal(mean, std).log_prob(batch["action"][rows]).sum(-1)
            torch.testing.assert_close(log_prob[rows], expected, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(value[rows], critic(obs).squeeze(-1), atol=1e-5, rtol=1e-5)
            actor.reset(done)
            critic.reset(done)
        assert iteration == 1 or any(state is not None for state in actor.states)
        alg.update()


def test_time_outs_and_the_end_are_valued_in_the_episode_s_own_state():
    """V(final observation) and V at the iteration's end come from where the critic stood, and leave it there."""
    env = PointMassEnv(num_envs=6, termination=0.2)
    runner = make_runner(recurrent_cfg(gamma=0.9), env)
    alg = runner.alg
    critic = ByHand(alg.critic, 6)
    seen, _ = collect_with_obs(runner)
    assert sum(int(step["time_outs"].sum()) for step in env.history) > 2
    for t, step in enumerate(env.history):
        critic(seen[t])
        before = copy.deepcopy(critic.states)
        final = torch.where(step["time_outs"], critic(step["final"]).squeeze(-1), 0.0)
        critic.states = before
        torch.testing.assert_close(alg.storage.rewards[t], step["rewards"] + 0.9 * final, atol=1e-5, rtol=1e-5)
        critic.reset(step["dones"])
    last = critic(env.get_observations()).squeeze(-1)
    st = alg.storage
    delta = st.rewards[-1] + st.discounts[-1] * last - st.values[-1]
    torch.testing.assert_close(alg.batch["advantage"][-6:], delta, atol=1e-5, rtol=1e-5)


@BOTH_KINDS
def test_gradient_equals_that_of_stock_ppo(rnn_type):
    """One full-batch step on the same rollout: returns and every parameter's gradient, twice, states carried over."""
    runners = []
    for class_name in ("PPO", "gr00t_rl.algorithms:PPO"):
        cfg = recurrent_cfg(rnn_type, num_learning_epochs=1, num_mini_batches=1, entropy_coef=0.01, value_loss_coef=1.0)
        cfg["algorithm"] |= {"class_name": class_name, "max_grad_norm": 1e9, "use_clipped_value_loss": True}
        for model in ("actor", "critic"):
            cfg[model]["obs_normalization"] = False  # rsl_rl 5.4 moves the moments at every step
        runners.append(make_runner(cfg, PointMassEnv(num_envs=5, final_obs=False)))
    stock, ours = runners
    for model in ("actor", "critic"):
        getattr(ours.alg, model).load_state_dict(getattr(stock.alg, model).state_dict())
    for _ in range(2):
        for runner in runners:
            runner.alg.optimizer.step = lambda *_: None
            torch.manual_seed(0)
            collect(runner)
        assert torch.stack([step["time_outs"] for step in ours.env.history]).any()
        torch.testing.assert_close(ours.alg.batch["return"].view(7, 5, 1), stock.alg.storage.returns)
        for runner in runners:
            runner.alg.update()
        for model in ("actor", "critic"):
            expected = dict(getattr(stock.alg, model).named_parameters())
            for name, parameter in getattr(ours.alg, model).named_parameters():
                assert parameter.grad.abs().max() > 0, name
                torch.testing.assert_close(parameter.grad, expected[name].grad, atol=1e-6, rtol=1e-4)


# -- minibatches -------------------------------------------------------------------------------------------------------


def test_minibatches_are_whole_envs_in_a_new_order_every_epoch():
    runner = make_runner(recurrent_cfg(num_learning_epochs=3, num_mini_batches=2), PointMassEnv(num_envs=6))
    alg, epochs = runner.alg, []
    collect(runner)
    step = alg._minibatch_step

    def note(minibatch: TensorDict) -> Any:
        envs = (minibatch["sequence"] % 6).tolist()
        assert all(envs.count(env) == 7 for env in set(envs))
        epochs.append(set(envs))
        return step(minibatch)

    alg._minibatch_step = note
    alg.update()
    pairs = [epochs[i : i + 2] for i in (0, 2, 4)]
    assert all(first | second == set(range(6)) and not first & second for first, second in pairs)
    assert len({frozenset(first) for first, _ in pairs}) > 1


def test_fewer_envs_than_minibatches():
    runner = make_runner(recurrent_cfg(num_learning_epochs=1, num_mini_batches=8), PointMassEnv(num_envs=2))
    collect(runner)
    sizes, step = [], runner.alg._minibatch_step
    runner.alg._minibatch_step = lambda minibatch: sizes.append(len(minibatch)) or step(minibatch)
    runner.alg.update()
    assert sizes == [7, 7]


def test_micro_batch_gradients_equal_full_batch_gradients():
    """In float64; pieces are whole envs of 7 decisions, as many as fit, one at least."""
    gradients = []
    for micro_batch_size in (None, 3, 14, 20):
        cfg = recurrent_cfg(num_learning_epochs=1, num_mini_batches=1, micro_batch_size=micro_batch_size)
        runner = make_runner(cfg, PointMassEnv(num_envs=5))
        alg = runner.alg
        collect(runner)
        for model in (alg.actor, alg.critic):
            model.double()
        alg.batch = TensorDict({k: v.double() if v.is_floating_point() else v for k, v in alg.batch.items()}, [35])
        memory = alg.memory
        memory._starts = {m: tuple(part.double() for part in state) for m, state in memory._starts.items()}
        sizes, terms = [], alg._loss_terms
        alg._loss_terms = lambda micro, terms=terms, sizes=sizes: sizes.append(len(micro)) or terms(micro)
        alg.update()
        assert sizes == {None: [35], 3: [7] * 5, 14: [14, 14, 7], 20: [14, 14, 7]}[micro_batch_size]
        gradients.append([p.grad.clone() for p in alg.parameters()])
    for others in gradients[1:]:
        for a, b in zip(gradients[0], others, strict=True):
            torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-9)


def test_old_log_probabilities_are_recomputed_row_by_row():
    """In the order in which they are stored, whatever the pieces of the forward passes are."""
    runner = make_runner(recurrent_cfg(recompute_log_probs=True, micro_batch_size=10), PointMassEnv(num_envs=5))
    alg = runner.alg
    collect(runner)
    alg.batch = alg.memory.in_sequence(alg.batch)
    collected = alg.batch["log_prob"].clone()
    alg.batch["log_prob"] = torch.zeros(35)
    alg._recompute_log_probs(alg.batch, torch.arange(len(alg.batch)))
    torch.testing.assert_close(alg.batch["log_prob"], collected, atol=1e-5, rtol=1e-5)


def test_final_kl_is_that_of_whole_sequences():
    """Zero before any weight moves: a sequence with gaps would give another distribution."""
    runner = make_runner(recurrent_cfg(num_mini_batches=2, schedule="adaptive"), PointMassEnv(num_envs=5))
    collect(runner)
    batch = runner.alg.memory.in_sequence(runner.alg.batch)
    total, count = runner.alg._final_kl(batch, torch.arange(len(batch)))
    assert count > 0 and abs(total) / count < 1e-6
    assert runner.alg.update()["final_kl"] > 0


# -- the runner --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["both", "actor", "critic"])
@BOTH_KINDS
def test_resumed_run_equals_the_uninterrupted_one(rnn_type, who, tmp_path):
    """Bit for bit, hidden states included; an env that starts an episode has none."""

    def run(env: PointMassEnv, seed: int = 0) -> Any:
        return make_runner(recurrent_cfg(rnn_type, who, reward_scaling=True), env, seed=seed)

    whole = run(PointMassEnv(num_envs=5))
    whole.learn(4)
    env = PointMassEnv(num_envs=5)
    stopped = run(env)
    stopped.learn(2)
    stopped.save(str(tmp_path / "model.pt"))
    later = run(env, seed=7)
    later.load(str(tmp_path / "model.pt"))
    later.learn(2)
    for model in ("actor", "critic"):
        expected = getattr(whole.alg, model).state_dict()
        for key, value in getattr(later.alg, model).state_dict().items():
            assert torch.equal(value, expected[key]), key
    state, expected = later.alg.memory.state_dict(), whole.alg.memory.state_dict()
    assert all(torch.equal(a, b) for name in expected for a, b in zip(state[name], expected[name], strict=True))
    fresh = PointMassEnv(num_envs=5)
    fresh.episode_length_buf = torch.tensor([0, 3, 0, 2, 1])
    restarted = run(fresh)
    restarted.load(str(tmp_path / "model.pt"))
    for parts in restarted.alg.memory.state_dict().values():
        assert all((part[:, [0, 2]] == 0).all() and (part[:, [1, 3, 4]] != 0).any() for part in parts)
    make_runner(recurrent_cfg(rnn_type, who, reward_scaling=True), PointMassEnv(num_envs=3)).load(
        str(tmp_path / "model.pt")
    )  # other envs: zeros


@BOTH_KINDS
def test_played_policy_remembers_until_it_is_reset(rnn_type):
    """``get_inference_policy`` gives the mean of the same network; playing in between disturbs no training."""
    runs = []
    for plays in (False, True):
        env = PointMassEnv(num_envs=5)
        runner = make_runner(recurrent_cfg(rnn_type), env)
        runner.learn(1)
        if plays:
            policy, by_hand = runner.get_inference_policy("cpu"), ByHand(runner.alg.actor, 3)
            with torch.inference_mode():
                for t in range(4):
                    obs = TensorDict({"policy": torch.full((3, 2), 0.1 * t)}, [3])
                    torch.testing.assert_close(policy(obs), by_hand(obs), atol=1e-6, rtol=1e-5)
                    dones = torch.tensor([0, 1, 0])
                    policy.reset(dones)
                    by_hand.reset(dones)
        runner.learn(1)
        runs.append(torch.cat([p.detach().flatten() for p in runner.alg.parameters()]))
    assert torch.equal(*runs)


def test_non_finite_gradients_are_skipped():
    runner = make_runner(recurrent_cfg(num_learning_epochs=1, num_mini_batches=5), PointMassEnv(num_envs=5))
    collect(runner)
    runner.alg.batch = runner.alg.batch.clone()
    runner.alg.batch["policy"][7] = float("nan")
    metrics = runner.alg.update()
    assert metrics["nonfinite_steps"] == 1
    assert all(p.isfinite().all() for p in runner.alg.parameters())
    assert all(part.isfinite().all() for parts in runner.alg.memory.state_dict().values() for part in parts)


@pytest.mark.parametrize("what", ["observation", "reward"])
def test_an_env_that_is_left_out_leaves_no_gap_in_a_sequence(what):
    """What is left of its episode is replayed as it was; after its reset it starts from zeros like any other."""
    env = PointMassEnv(num_envs=5)
    runner, step = make_runner(recurrent_cfg(), env), env.step

    def bad_step(actions: torch.Tensor) -> Any:
        obs, rewards, dones, extras = step(actions)
        if len(env.history) in (3, 9):
            (obs["policy"] if what == "observation" else rewards)[1] = float("nan")
        return obs, rewards, dones, extras

    env.step = bad_step
    alg, update, sizes = runner.alg, runner.alg.update, []

    def check_then_update() -> dict[str, float]:
        batch = alg.batch
        log_prob, value = replayed(alg, batch)
        assert ((log_prob - batch["log_prob"]).exp() - 1).abs().max() <= 1e-5
        torch.testing.assert_close(value, batch["value"], atol=1e-5, rtol=1e-5)
        sizes.append(len(batch))
        return update()

    alg.update = check_then_update
    runner.learn(3)
    assert max(sizes[:2]) < 35 == sizes[2]
    assert all(part.isfinite().all() for parts in alg.memory.state_dict().values() for part in parts)


@pytest.mark.parametrize("zero_std_groups", ["drop", "resample"])
def test_grpo_trains_a_recurrent_actor(zero_std_groups):
    """Episodes end at different times and rest: fewer and fewer envs decide, each with its own state, from zero."""
    cfg = grpo_cfg(credit="reward_to_go", kl_coef=0.1, zero_std_groups=zero_std_groups, micro_batch_size=9)
    cfg["actor"] = recurrent_model("lstm")
    env = GroupedPointMassEnv(num_envs=8, max_episode_length=6, termination=0.2)
    runner = make_runner(cfg, env)
    alg, update = runner.alg, runner.alg.update
    by_hand, seen = ByHand(alg.actor, 8), []

    def check_then_update() -> dict[str, float]:
        batch = alg.batch
        with torch.no_grad():
            log_prob = alg.policy.evaluate(batch).log_prob
        assert len(batch) < 6 * 8
        assert (batch["sequence"] < 8).all() and ((log_prob - batch["log_prob"]).exp() - 1).abs().max() <= 1e-5
        first = batch[batch["sequence_step"] == 0]
        by_hand.reset(torch.ones(8))
        mean = by_hand(TensorDict({"policy": first["policy"]}, [8]))
        torch.testing.assert_close(first["distribution_0"], mean, atol=1e-6, rtol=1e-5)
        metrics = update()
        seen.append(metrics)
        return metrics

    alg.update = check_then_update
    before = [p.detach().clone() for p in alg.parameters()]
    runner.learn(3)
    assert all(m["kl_divergence"] >= 0 for m in seen) and seen[-1]["kl_divergence"] > 0
    assert any(not torch.equal(a, b) for a, b in zip(before, alg.parameters(), strict=True))


def test_recurrent_models_of_chunk_policies_are_refused():
    cfg = runner_cfg("flow_sde_one")
    cfg["critic"] = recurrent_model(actor=False)
    with pytest.raises(ConfigurationError, match=r"critic\.class_name='RNNModel' is recurrent, which needs") as error:
        make_runner(cfg, PointMassEnv())
    assert "\n" not in str(error.value)


# -- what it is for ----------------------------------------------------------------------------------------------------


def recall(cfg: dict[str, Any], iterations: int) -> float:
    """Mean reward of the last episodes of a run on the cue task; 1 is perfect, 0 the best without memory."""
    cfg["num_steps_per_env"] = 8
    env = CueEnv()
    make_runner(cfg, env).learn(iterations)
    return torch.cat([step["rewards"] for step in env.history[-80:]]).mean().item()


CUE_OPTIONS = {"num_learning_epochs": 4, "num_mini_batches": 2, "learning_rate": 1e-2}


@pytest.mark.slow
@BOTH_KINDS
def test_a_cue_is_remembered(rnn_type):
    assert recall(recurrent_cfg(rnn_type, layers=1, **CUE_OPTIONS), 40) > 0.8


@pytest.mark.slow
def test_without_memory_the_cue_is_lost():
    assert recall(runner_cfg("mlp", **CUE_OPTIONS), 40) < 0.2


def test_grpo_begins_every_episode_from_zeros_even_if_the_last_one_did_not_end():
    """A task may have no time-out: what its recurrent actor remembers belongs to an episode that was broken off."""
    cfg = grpo_cfg()
    cfg["actor"] |= recurrent_cfg()["actor"]
    env = GroupedPointMassEnv(termination=0.0)
    step = env.step
    env.step = lambda actions: [step(actions)[0], torch.zeros(env.num_envs), torch.zeros(env.num_envs), {}]  # type: ignore
    runner = make_runner(cfg, env)
    memory = runner.alg.memory
    collect(runner)
    assert memory.state_dict()["actor"][0].abs().max() > 0.0
    runner.alg.update()
    runner.alg.act(env.get_observations())
    assert all(part.abs().max() == 0.0 for parts in memory._starts.values() for part in parts)
