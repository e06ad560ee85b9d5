# SPDX-License-Identifier: BSD-3-Clause
"""GRPO through rsl_rl's own runner: one episode per env, compared within groups, and nothing after its end."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import ACTORS, GroupedPointMassEnv, collect, grpo_cfg, make_runner
from tensordict import TensorDict
from torch.distributions import Normal

from gr00t_rl.algorithms.advantages import group_advantages
from gr00t_rl.algorithms.ranks import Tally
from gr00t_rl.utils.errors import ConfigurationError


def grpo_runner(actor: str = "mlp", log_dir: Any = None, image: bool = False, seed: int = 0, **options: Any) -> Any:
    env_options = {
        name: options.pop(name) for name in ("num_envs", "termination", "max_episode_length") if name in options
    }
    env = GroupedPointMassEnv(**{"termination": 0.2, "image": image, **env_options})
    return make_runner(grpo_cfg(actor, image=image, **options), env, log_dir, seed)


def weights(alg: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in alg.parameters()])


def first_ends(env: GroupedPointMassEnv) -> list[int]:
    """Env steps of each env's first episode, read off the env's own history of one iteration."""
    dones = torch.stack([step["dones"].bool() for step in env.history])
    assert dones.any(0).all()
    return (dones.int().argmax(0) + 1).tolist()


# -- rollout -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actor", "image"), [*((name, False) for name in ACTORS), ("flow_sde_one", True)], ids=lambda v: str(v)
)
def test_ratio_is_one_before_the_first_step(actor, image):
    """Over two iterations, for every decision that is kept."""
    runner = grpo_runner(actor, image=image)
    update, seen = runner.alg.update, []

    def check_then_update() -> dict[str, float]:
        batch = runner.alg.batch.clone()
        with torch.no_grad():
            seen.append((runner.alg.policy.evaluate(batch).log_prob - batch["log_prob"]).exp())
        return update()

    runner.alg.update = check_then_update
    runner.learn(2)
    assert len(seen) == 2 and runner.env.resets == 2
    for ratio in seen:
        assert len(ratio) >= 8
        assert (ratio - 1).abs().max() < 1e-5


@pytest.mark.parametrize(("actor", "chunk"), [("mlp", 1), ("flow_sde_one", 3)])
def test_only_decisions_of_first_episodes_are_stored(actor, chunk):
    """As many as the episode's length takes, in each env; and none decides, or moves, after its end."""
    runner = grpo_runner(actor)
    collect(runner)
    env, alg = runner.env, runner.alg
    ends = first_ends(env)
    assert len(set(ends)) > 2 and len(env.history) == env.max_episode_length
    counts = torch.bincount(alg.batch["episode"], minlength=env.num_envs).tolist()
    assert counts == [-(-end // chunk) for end in ends]
    for i, end in enumerate(ends):
        for t, step in enumerate(env.history):
            assert step["actions"][i].any() == (t < end)


def test_episodes_are_those_of_the_env():
    """Return, discounted return, length and success, added up again from the env's history."""
    runner = grpo_runner(gamma=0.9)
    collect(runner)
    env, ep = runner.env, runner.alg.episodes
    ends = first_ends(env)
    rewards = torch.stack([step["rewards"] for step in env.history])
    for i, end in enumerate(ends):
        assert ep.lengths[i] == end
        torch.testing.assert_close(ep.rewards[i], rewards[:end, i].sum())
        torch.testing.assert_close(ep.discounted[i], (0.9 ** torch.arange(end) * rewards[:end, i]).sum())
        assert ep.success[i] == env.history[end - 1]["success"][i]
    assert 0 < ep.success.sum() < env.num_envs and not ep.alive.any()


@pytest.mark.parametrize("reward", ["return", "success"])
def test_advantage_is_that_of_the_episode_among_its_group(reward):
    runner = grpo_runner(reward=reward)
    collect(runner)
    ep, batch = runner.alg.episodes, runner.alg.batch
    judged = ep.success.float() if reward == "success" else ep.rewards
    expected = group_advantages(judged.view(2, 4)).flatten()
    torch.testing.assert_close(batch["advantage"], expected[batch["episode"]])


@pytest.mark.parametrize("reward", ["return", "success"])
@pytest.mark.parametrize(("actor", "chunk"), [("mlp", 1), ("flow_sde_one", 3)])
def test_reward_to_go_is_what_came_after_the_decision(actor, chunk, reward):
    """Added up again from the env's history, discounted from the decision on, against the others still running then."""
    runner = grpo_runner(actor, credit="reward_to_go", advantage="dr_grpo", reward=reward, gamma=0.9)
    collect(runner)
    env, alg = runner.env, runner.alg
    ends = first_ends(env)
    name = "rewards" if reward == "return" else "success"
    history = torch.stack([step[name].float() for step in env.history])
    if reward == "success":  # paid once, at the episode's end
        history *= torch.stack([torch.tensor([end == t + 1 for end in ends]) for t in range(len(env.history))])
    to_go = {
        (i, t): float((0.9 ** torch.arange(end - t) * history[t:end, i]).sum())
        for i, end in enumerate(ends)
        for t in range(0, end, chunk)
    }
    seen: dict[int, int] = {}
    for env_id, advantage in zip(alg.batch["episode"].tolist(), alg.batch["advantage"].tolist(), strict=True):
        t = seen.get(env_id, 0)
        seen[env_id] = t + chunk
        others = [value for (i, time), value in to_go.items() if time == t and i // 4 == env_id // 4]
        assert advantage == pytest.approx(to_go[env_id, t] - sum(others) / len(others), abs=1e-5)
    assert alg.batch["advantage"].abs().max() > 1e-2


@pytest.mark.parametrize("credit", ["episode", "reward_to_go"])
def test_steps_after_the_end_have_no_influence(credit):
    """Other rewards there, of any size, leave all weights as they are, over three iterations."""
    plain, spoilt = (grpo_runner(credit=credit) for _ in range(2))
    step, env = spoilt.env.step, spoilt.env
    ended = torch.zeros(env.num_envs, dtype=torch.bool)

    def step_with_other_rewards(actions: torch.Tensor) -> tuple[Any, ...]:
        obs, rewards, dones, extras = step(actions)
        rewards = torch.where(ended, 1e6, rewards)
        ended.logical_or_(dones.bool())
        if len(env.history) % env.max_episode_length == 0:
            assert ended.all()
            ended.zero_()
        return obs, rewards, dones, extras

    env.step = step_with_other_rewards
    for runner in (plain, spoilt):
        torch.manual_seed(1)
        runner.learn(3)
    assert torch.equal(weights(plain.alg), weights(spoilt.alg))


def test_pictures_are_asked_for_by_deciding_envs_only():
    """Chunks of 3 in episodes of 5 steps: due before steps 0 and 3, where the episode still goes on, and then never."""
    runner = grpo_runner("flow_sde_one", termination=0.0)
    env, due = runner.env, []
    step, reset = env.step, env.reset
    env.reset = lambda: due.append(env.decision_due.all().item()) or reset()
    env.step = lambda actions: due.append(env.decision_due.any().item()) or step(actions)
    collect(runner)
    assert due == [True, False, False, True, False, False]
    assert env.new_episodes_decide is False


def test_the_runners_logger_sees_no_ends_and_we_report_the_episodes(tmp_path):
    runner = grpo_runner(log_dir=tmp_path)
    update, seen = runner.alg.update, []
    runner.alg.update = lambda: seen.append(update()) or seen[-1]
    runner.learn(1)
    ep, env = runner.alg.episodes, runner.env
    assert not runner.logger.rewbuffer
    assert all("charts/success_rate" not in extras for extras in runner.logger.ep_extras)
    (metrics,) = seen
    assert metrics["charts/success_rate"] == pytest.approx(ep.success.float().mean().item())
    late = torch.tensor([length == env.max_episode_length for length in first_ends(env)])
    late &= ~ep.success
    assert 0 < late.sum() < env.num_envs
    assert metrics["charts/time_out_rate"] == pytest.approx(late.float().mean().item())
    rates = [metrics[f"charts/{name}_rate"] for name in ("success", "failure", "time_out")]
    assert sum(rates) == pytest.approx(1.0) and min(rates) >= 0.0
    assert metrics["charts/episodic_length"] == pytest.approx(sum(first_ends(env)) / env.num_envs)
    assert metrics["charts/episodic_return"] == pytest.approx(ep.rewards.mean().item())
    assert metrics["charts/used_steps"] == pytest.approx(sum(first_ends(env)) / (env.num_envs * 5))


def test_documented_tags_are_written(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    grpo_runner(log_dir=tmp_path, kl_coef=0.1, schedule="adaptive").learn(2)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    train = ("policy_loss", "entropy_loss", "approx_kl", "clipfrac", "learning_rate", "grad_norm", "frac_zero_std")
    train += ("return_diversity", "kl_divergence", "reference_kl", "final_kl", "advantage_mean", "advantage_std")
    train += tuple(f"return_{name}" for name in ("mean", "std", "min", "max"))
    expected = {f"train/{name}" for name in train} | {"grpo/mean_reward", "grpo/reward_std"}
    expected |= {f"charts/{name}" for name in ("episodic_return", "episodic_length", "success_rate", "SPS")}
    assert expected <= set(events.Tags()["scalars"])


# -- update ------------------------------------------------------------------------------------------------------------


def prepared(alg: Any, batch: TensorDict | None = None) -> TensorDict:
    """Return the decisions that are learned from."""
    chosen: Any = alg.batch.clone() if batch is None else batch
    return chosen[alg._prepare(chosen)]


def one_gradient(runner: Any, batch: TensorDict) -> torch.Tensor:
    alg = runner.alg
    for parameter in alg.parameters():
        parameter.grad = None
    alg._loss(alg._loss_terms(batch)).mean().backward()
    return torch.cat([p.grad.flatten() for p in alg.parameters()]).clone()


def test_gradient_is_that_of_the_plain_formula_in_float64():
    """After some training, with clipping at both bounds, entropy bonus and KL to the reference, written out again."""
    runner = grpo_runner(clip_param=0.1, clip_param_high=0.3, entropy_coef=0.02, kl_coef=0.3, learning_rate=0.03)
    runner.learn(1)
    collect(runner)
    alg = runner.alg
    old = alg.batch.clone()
    alg._minibatch_step(old[alg._prepare(old)[:12]])  # the ratio is not 1 any more
    alg.actor.double()
    for key, value in alg.reference._kept.items():
        alg.reference._kept[key] = value.double() if value.is_floating_point() else value
    batch = old.apply(lambda v: v.double() if v.is_floating_point() else v)
    batch = prepared(alg, batch)
    found = one_gradient(runner, batch)

    def policy() -> Normal:
        mean = alg.actor.mlp(alg.actor.obs_normalizer(batch["policy"]))
        return Normal(mean, alg.actor.distribution.log_std_param.exp().expand_as(mean))

    for parameter in alg.parameters():
        parameter.grad = None
    with torch.no_grad(), alg.reference.applied():
        reference = policy()
        reference = Normal(reference.loc.clone(), reference.scale.clone())
    current = policy()
    ratio = (current.log_prob(batch["action"]).sum(1) - batch["log_prob"]).exp()
    assert (ratio < 0.9).any() and (ratio > 1.3).any()
    surrogate = torch.min(ratio * batch["advantage"], ratio.clamp(0.9, 1.3) * batch["advantage"])
    kl = torch.distributions.kl_divergence(current, reference).sum(1)
    (-surrogate + 0.3 * kl - 0.02 * current.entropy().sum(1)).mean().backward()
    expected = torch.cat([p.grad.flatten() for p in alg.parameters()])
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("head", ["flow_sde_one", "gaussian", "flow_noise"])
def test_reference_kl_of_chains_is_that_of_their_gaussians(head):
    """0 before training, then the sum of the closed form over the chain's numbers, in float64 by torch."""
    runner = grpo_runner(head, kl_coef=0.1, learning_rate=3e-3)
    collect(runner)
    alg = runner.alg
    assert alg._loss_terms(prepared(alg))["reference_kl"].abs().max() < 1e-6
    alg.update()
    collect(runner)
    batch = prepared(alg)
    with torch.no_grad():
        found = alg._loss_terms(batch)["reference_kl"]
        current = [p.double() for p in alg.policy.evaluate(batch).parameters]
    mean, std = (batch[f"reference_{i}"].double() for i in (0, 1))
    expected = torch.distributions.kl_divergence(Normal(*current), Normal(mean, std)).flatten(1).sum(1)
    assert expected.min() > 1e-4
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-3)


def test_episodes_count_alike_on_request():
    """The mean over episodes of the means over their decisions."""
    runner = grpo_runner(loss_average="episode", zero_std_groups="keep")
    collect(runner)
    alg = runner.alg
    batch = prepared(alg)
    alg._minibatch_step(batch)
    with torch.no_grad():
        loss = alg._loss(alg._loss_terms(batch)).mean()
        plain = alg._loss(alg._loss_terms(batch.exclude("weight")))
    episodes = [plain[batch["episode"] == i].mean() for i in range(8)]
    torch.testing.assert_close(loss, torch.stack(episodes).mean())
    assert (loss - plain.mean()).abs() > 1e-4


def with_one_barren_group(runner: Any) -> None:
    """Collect a rollout whose first group of two earned the same in all episodes."""
    step = runner.env.step

    def flat(actions: torch.Tensor) -> tuple[Any, ...]:
        obs, rewards, dones, extras = step(actions)
        rewards[:4] = 0.0
        return obs, rewards, dones, extras

    runner.env.step = flat
    collect(runner)


def test_success_is_reported_for_each_task_of_the_first_episodes():
    """Groups 0 and 1 have the instructions 0 and 1 in their first episode; which come next is not counted."""
    env = GroupedPointMassEnv(termination=0.2)
    env.cfg.instruction_names = lambda: ["push", "stack"]  # type: ignore[attr-defined]
    step, first = env.step, torch.arange(env.num_envs) // 4

    def instructed(actions: torch.Tensor) -> tuple[Any, ...]:
        obs, rewards, dones, extras = step(actions)
        seen = torch.stack([past["dones"] for past in env.history[:-1]]).any(0) if len(env.history) > 1 else dones * 0
        extras["instruction"] = torch.where(seen.bool(), 1 - first, first)
        extras["log"] |= {"charts/success_rate/push": 0.25, "charts/success_rate/stack": 0.25}
        extras["log"] |= {"charts/failure_rate": 0.0, "charts/time_out_rate": 0.0}
        return obs, rewards, dones, extras

    env.step = instructed  # type: ignore[method-assign]
    runner = make_runner(grpo_cfg("flow_sde_one"), env)
    logged = []
    log = runner.alg.process_env_step
    runner.alg.process_env_step = lambda *args: (log(*args), logged.append(args[3]["log"]))
    collect(runner)
    success, tally = runner.alg.episodes.success.float(), Tally("cpu")
    assert torch.equal(runner.alg.episodes.instruction, first) and not any(logged)
    runner.alg._tally(tally, runner.alg.batch)
    metrics = runner.alg._describe(tally.exchange()[1])
    assert metrics["charts/success_rate/push"] == pytest.approx(success[:4].mean().item())
    assert metrics["charts/success_rate/stack"] == pytest.approx(success[4:].mean().item())
    assert metrics["charts/success_rate"] == pytest.approx(success.mean().item())


def test_late_success_is_learned_from_whatever_the_discount():
    """One episode of eight is paid, 40 steps from the start, with gamma 0.5: 1e-12 of it is left there.

    Judged by rewards to go, its group teaches: all of its decisions are kept, those of the other group dropped.
    """
    options = {"credit": "reward_to_go", "gamma": 0.5, "max_episode_length": 40, "num_steps": 40, "termination": 0.0}
    runner = grpo_runner(**options)
    step, env = runner.env.step, runner.env

    def pay_late(actions: torch.Tensor) -> tuple[Any, ...]:
        obs, rewards, dones, extras = step(actions)
        rewards = torch.zeros_like(rewards)
        rewards[1] = float(len(env.history) == 39)
        return obs, rewards, dones, extras

    env.step = pay_late
    collect(runner)
    alg = runner.alg
    assert alg.batch["advantage"].abs().max() > 1.0
    rows = alg._prepare(alg.batch)
    assert len(rows) == 4 * 40 and (alg.batch["episode"][rows] < 4).all()
    assert alg.update()["frac_zero_std"] == 0.5


def test_diversity_is_the_share_of_variance_within_groups():
    """Within groups (0, 2) and (4, 6) the variance is 1, in all 5; the start decides, or the policy's noise does."""
    runner = grpo_runner()
    collect(runner)
    for judged, expected in (
        ([[0.0, 2.0] * 2, [4.0, 6.0] * 2], 0.2),
        ([[1.0] * 4, [3.0] * 4], 0.0),
        ([[1.0, 3.0] * 2, [1.0, 3.0] * 2], 1.0),
        ([[0.3] * 4, [0.3] * 4], 0.0),
    ):
        tally = Tally("cpu")
        runner.alg._judged = torch.tensor(judged)
        runner.alg._tally(tally, runner.alg.batch)
        metrics = runner.alg._describe(tally.exchange()[1])
        assert metrics["return_diversity"] == pytest.approx(expected, abs=1e-6)


def test_barren_groups_are_dropped_resampled_or_kept():
    """Kept, they only shrink the gradient, by the share of decisions that are left when they are dropped."""
    batches, gradients = {}, {}
    for choice in ("drop", "resample", "keep"):
        runner = grpo_runner(zero_std_groups=choice)
        with_one_barren_group(runner)
        assert runner.alg._informative.tolist() == [False, True]
        batches[choice] = prepared(runner.alg)
        gradients[choice] = one_gradient(runner, batches[choice])
    counts = {choice: len(batch) for choice, batch in batches.items()}
    assert counts["drop"] < counts["keep"] == counts["resample"]
    for choice in ("drop", "resample"):
        assert (batches[choice]["episode"] >= 4).all()
    share = counts["drop"] / counts["keep"]
    torch.testing.assert_close(gradients["keep"], gradients["drop"] * share)


@pytest.mark.parametrize("choice", ["drop", "resample"])
def test_nothing_is_learned_where_no_group_tells_episodes_apart(choice):
    runner = grpo_runner(zero_std_groups=choice, reward="success", termination=0.0, schedule="adaptive", kl_coef=0.1)
    runner.learn(2)
    before = weights(runner.alg).clone()
    collect(runner)
    metrics = runner.alg.update()
    assert metrics["frac_zero_std"] == 1.0 and metrics["grpo/mean_reward"] == 0.0 and "policy" not in metrics
    assert torch.equal(weights(runner.alg), before)
    assert runner.alg.iteration == 3


def test_it_learns():
    """The point is driven to the origin: returns rise from about -3.5 by more than a third in 30 iterations."""
    runner = grpo_runner(num_envs=64, termination=0.0, learning_rate=3e-3, num_learning_epochs=4)
    update, returns = runner.alg.update, []

    def note() -> dict[str, float]:
        metrics = update()
        returns.append(metrics["charts/episodic_return"])
        return metrics

    runner.alg.update = note
    runner.learn(30)
    assert sum(returns[-5:]) / 5 > sum(returns[:5]) / 5 * (2 / 3)


# -- checkpoints, interface, errors ------------------------------------------------------------------------------------


def test_there_is_no_critic():
    alg = grpo_runner().alg
    assert alg.critic is None and len(alg.optimizer.param_groups) == 1
    assert list(alg.parameters()) == [p for p in alg.actor.parameters() if p.requires_grad]
    assert "critic_state_dict" not in alg.save()
    collect_keys = set(alg.policy.observe(GroupedPointMassEnv().get_observations()).keys())
    assert collect_keys == {"policy"}


def test_resumed_run_equals_an_uninterrupted_one(tmp_path):
    """Weights, optimiser, normaliser, generators, reference and counters; the env's generator is put back by hand."""
    options = {"kl_coef": 0.1, "schedule": "adaptive"}
    whole = grpo_runner(**options)
    whole.learn(2)
    whole.save(str(tmp_path / "model_1.pt"))
    env_state = whole.env.generator.get_state()
    whole.learn(2)
    resumed = grpo_runner(seed=99, **options)
    resumed.load(str(tmp_path / "model_1.pt"))
    resumed.env.generator.set_state(env_state)
    resumed.learn(2)
    assert torch.equal(weights(whole.alg), weights(resumed.alg))
    for name, tensor in whole.alg.reference.state_dict().items():
        assert torch.equal(tensor, resumed.alg.reference.state_dict()[name]), name


def test_weights_without_a_reference_become_the_reference(tmp_path):
    first = grpo_runner()
    first.learn(1)
    first.save(str(tmp_path / "model_0.pt"))
    second = grpo_runner(seed=5, kl_coef=0.1)
    second.load(str(tmp_path / "model_0.pt"))
    with second.alg.reference.applied():
        assert torch.equal(weights(second.alg), weights(first.alg))


def test_an_iteration_is_one_episode_where_not_set():
    runner = grpo_runner()
    assert runner.cfg["num_steps_per_env"] == runner.alg.num_steps == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_size": 2}, "group_size is 2, but the env's starts are shared by 4"),
        ({"num_steps": 4}, "agent.num_steps_per_env is 4; set null or at least the 5 steps"),
        ({"num_envs": 6}, "--num_envs is 6; set a multiple of agent.algorithm.group_size=4"),
    ],
)
def test_env_that_does_not_fit_ends_in_one_line(options, message):
    runner = grpo_runner(**options)
    with pytest.raises(ConfigurationError, match=message) as error:
        runner.alg.act(runner.env.get_observations())
    assert "\n" not in str(error.value)


def test_env_that_knows_no_success():
    runner = grpo_runner(reward="success")
    step = runner.env.step
    runner.env.step = lambda actions: (lambda o, r, d, e: (o, r, d, {"time_outs": e["time_outs"]}))(*step(actions))
    with pytest.raises(ConfigurationError, match=r"reports no extras\['success'\]; set it to 'return'"):
        collect(runner)


def test_nonfinite_gradients_are_skipped(tmp_path):
    """By the guard that PPO has."""
    runner = grpo_runner(max_nonfinite_steps=100)
    collect(runner)
    before = weights(runner.alg).clone()
    runner.alg.batch["advantage"] = runner.alg.batch["advantage"] * float("nan")
    metrics = runner.alg.update()
    assert torch.equal(weights(runner.alg), before) and metrics["nonfinite_steps"] == 6
