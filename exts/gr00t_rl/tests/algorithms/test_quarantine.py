# SPDX-License-Identifier: BSD-3-Clause
"""One bad env costs its decision and nothing else: the weights are those of a run that left it out by hand."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
from helpers import Fault, FaultyEnv, FaultyGroupedEnv, grpo_cfg, make_runner, runner_cfg

from gr00t_rl.algorithms.returns import semi_mdp_gae
from gr00t_rl.utils.finite import find_nonfinite

NAN, INF = float("nan"), float("inf")
VALUES = [NAN, INF, -INF]
STEPS = 10
ADAM_EPS = 1e-3  # attention keys have biases without a gradient: a small epsilon would make steps of its rounding
BAD = 4
"""The env that breaks. In PPO its episode ends in step 3; a chunk policy decides before steps 0, 3, 4 and 7."""
PLACES = {"start": -1, "first step": 0, "episode's end": 3, "middle of a chunk": 8, "last step": 9}
GRPO_PLACES = {"start": -1, "first step": 0, "middle of a chunk": 4, "episode's end": STEPS - 1}


def make(algorithm: str, actor: str, plain: bool, faults: tuple[Fault, ...] = ()) -> Any:
    """A runner; ``plain`` leaves out the reward scaling and the normalisers."""
    if algorithm == "grpo":
        env: Any = FaultyGroupedEnv(8, 4, max_episode_length=STEPS, termination=0.0, faults=faults)
        cfg = grpo_cfg(actor, num_learning_epochs=1, adam_eps=ADAM_EPS)
    else:
        env = FaultyEnv(6, 8, 0.0, faults=faults)
        recurrent, name = actor == "rnn", "mlp" if actor == "rnn" else actor
        cfg = runner_cfg(name, num_steps=STEPS, reward_scaling=not plain, num_learning_epochs=1, adam_eps=ADAM_EPS)
        for model in (cfg["actor"], cfg["critic"]) if recurrent else ():
            model |= {"class_name": "RNNModel", "rnn_type": "lstm", "rnn_hidden_dim": 8, "rnn_num_layers": 1}
        cfg["critic"]["obs_normalization"] = not plain
    cfg["actor"]["obs_normalization"] = not plain
    return make_runner(cfg, env)


def rollout(runner: Any, after_step: Any = lambda step: None) -> None:
    """What rsl_rl's runner does before an update; ``after_step`` is called with -1 before the first step."""
    alg, env = runner.alg, runner.env
    alg.train_mode()
    obs = env.get_observations()
    with torch.inference_mode():
        after_step(-1)
        for step in range(STEPS):
            obs, rewards, dones, extras = env.step(alg.act(obs))
            alg.process_env_step(obs, rewards, dones, extras)
            assert rewards.isfinite().all()  # rsl_rl's logger adds them up
            after_step(step)
        alg.compute_returns(obs)


def learned(alg: Any) -> dict[str, torch.Tensor]:
    """Everything that learns, but for the generators and the scaler's running returns."""
    state = alg.save()
    scaler = state["algorithm_state_dict"]["reward_scaler"] or {}
    tensors = {f"scaler.{k}": v for k, v in scaler.items() if k.startswith("moments")}
    for model in ("actor_state_dict", "critic_state_dict"):
        tensors |= {f"{model}.{k}": v for k, v in state.get(model, {}).items()}
    for i, moments in state["optimizer_state_dict"]["state"].items():
        tensors |= {f"optimizer.{i}.{k}": v for k, v in moments.items()}
    return {k: v.clone() for k, v in tensors.items() if isinstance(v, torch.Tensor)}


# -- the same by hand -------------------------------------------------------------------------------------------------


@functools.cache
def by_hand(algorithm: str, actor: str, plain: bool, step: int, bad: bool, rests: bool) -> dict[str, torch.Tensor]:
    """Weights after an iteration without any fault, in which the decision that ran in ``step`` was left out by hand.

    Args:
        algorithm: "ppo" or "grpo".
        actor: Name of the actor.
        plain: See :func:`make`.
        step: When the env broke.
        bad: Whether the step itself is left out.
        rests: Whether the env is reset by its clock in the step that follows, undecided until then.
    """
    runner = make(algorithm, actor, plain)
    return by_hand_grpo(runner, step, bad) if algorithm == "grpo" else by_hand_ppo(runner, step, bad, rests)


def by_hand_ppo(runner: Any, step: int, bad: bool, rests: bool) -> dict[str, torch.Tensor]:
    alg, env = runner.alg, runner.env
    left_out = ([step] if bad else []) + ([step + 1] if rests else [])  # steps of the env that are nobody's
    scale_without(alg, left_out)

    def break_off(now: int) -> None:
        if now == step and rests:
            env.episode_length_buf[BAD] = env.max_episode_length
            alg.queue.clear(torch.arange(env.num_envs) == BAD)
            if alg.memory is not None:
                alg.memory.reset(torch.arange(env.num_envs) == BAD)

    rollout(runner, break_off)
    with torch.no_grad():
        st, last = alg.storage, alg._value(env.get_observations())
    begins = st.durations.cumsum(0) - st.durations
    dropped = torch.zeros_like(st.valid)
    for d in range(STEPS):
        ran = range(int(begins[d, BAD]), int(begins[d, BAD] + st.durations[d, BAD]))
        dropped[d, BAD] = any(now in ran for now in left_out)
    advantages = torch.zeros_like(st.rewards)
    for env_id in range(env.num_envs):  # piece by piece: a piece ends with the value at what is left out
        begin, number = 0, int(st.valid[:, env_id].sum())
        for d in range(number + 1):
            if d == number or dropped[d, env_id]:
                piece = slice(begin, d), slice(env_id, env_id + 1)
                value = last[env_id : env_id + 1] if d == number else st.values[d, piece[1]]
                rewards, values, discounts, valid = (a[piece] for a in (st.rewards, st.values, st.discounts, st.valid))
                advantages[piece] = semi_mdp_gae(rewards, values, discounts, valid, value, alg.options.lam)
                begin = d + 1
    rows = st.rows
    kept = ~dropped.view(-1)[rows]
    batch = st.records()[kept]
    batch["advantage"] = advantages.view(-1)[rows][kept]
    batch["return"] = batch["advantage"] + batch["value"]
    alg.batch = batch
    alg.update()
    return learned(alg)


def scale_without(alg: Any, steps: list[int]) -> None:
    """Let the reward scaler not see the bad env in ``steps``."""
    if alg.reward_scaler is None:
        return
    scaler, now = alg.reward_scaler, iter(range(STEPS))

    def scale(rewards: torch.Tensor, dones: torch.Tensor, _: Any = None) -> torch.Tensor:
        out = torch.zeros(len(rewards), dtype=torch.bool)
        out[BAD] = next(now) in steps
        scaler.returns = scaler.returns * scaler.gamma + rewards
        scaler.moments.update(scaler.returns[~out])
        scaler.returns[dones.bool() | out] = 0.0
        return (rewards * torch.rsqrt(scaler.moments.variance + 1e-8).float()).clamp(-10.0, 10.0)

    scaler.forward = scale


def by_hand_grpo(runner: Any, step: int, bad: bool) -> dict[str, torch.Tensor]:
    alg = runner.alg

    def break_off(now: int) -> None:
        if bad and now == max(step, 0):
            alg.episodes.alive[BAD] = False
            alg.queue.rest(~alg.episodes.alive)

    rollout(runner, break_off)
    if bad:
        returns = alg.episodes.discounted
        mates = torch.tensor([i for i in range(4, 8) if i != BAD])  # groups of four
        advantages = torch.zeros(8)
        for group in (torch.arange(4), mates):
            advantages[group] = (returns[group] - returns[group].mean()) / (returns[group].std() + 1e-4)
        batch = alg.batch[alg.batch["episode"] != BAD]
        batch["advantage"] = advantages[batch["episode"]]
        alg.batch = batch
    alg.update()
    return learned(alg)


# -- each kind at each place ------------------------------------------------------------------------------------------


def cases(algorithm: str) -> list[tuple[str, str]]:
    """Where the fault is and when."""
    places = GRPO_PLACES if algorithm == "grpo" else PLACES
    groups = ["policy"] if algorithm == "grpo" else ["policy", "critic"]  # what is read
    found = [(group, place) for group in groups for place in places]
    found += [("reward", place) for place in places if place != "start"]
    return found + [(f"final {group}", "episode's end") for group in groups]


SETTINGS = [
    (algorithm, actor, plain)
    for algorithm in ("ppo", "grpo")
    for actor in ("mlp", "flow_sde_one", "gaussian")
    for plain in (False, True)
    if actor != "gaussian" or not plain
] + [("ppo", "rnn", False)]


@pytest.mark.parametrize(("algorithm", "actor", "plain"), SETTINGS)
def test_what_breaks_is_left_out(algorithm, actor, plain):
    places = GRPO_PLACES if algorithm == "grpo" else PLACES
    for number, (where, place) in enumerate(cases(algorithm)):
        step, one = places[place], VALUES[number % 3]
        ended = place == "episode's end"
        fresh = ended and where in ("policy", "critic")  # the new episode's observation: the old one ended well
        expected = by_hand(algorithm, actor, plain, step, not fresh, fresh or not ended)
        for value in VALUES if actor == "mlp" else [one]:
            case = f"{where} is {value} at the {place}"
            runner = make(algorithm, actor, plain, (Fault(where, value, step, BAD),))
            rollout(runner)
            metrics = runner.alg.update()
            assert metrics["nonfinite_envs"] == 1 and metrics["nonfinite_steps"] == 0, case
            assert all(map(math.isfinite, metrics.values())), case
            check_equal(learned(runner.alg), expected, case)
            if value is one:
                check_going_on(runner, case)


def check_equal(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], case: str) -> None:
    """To rounding: a forward pass of fewer rows may differ in the last bit."""
    assert actual.keys() == expected.keys()
    far = [name for name, x in actual.items() if not torch.allclose(x, expected[name], atol=1e-6, rtol=1e-5)]
    assert not far, f"{case}: {far}"


def check_going_on(runner: Any, case: str) -> None:
    """The next iteration is as if nothing had been, and the env takes part in it."""
    runner.env.faults.clear()
    rollout(runner)
    if runner.alg.learns_values:
        assert not runner.alg.quarantine.resting.any(), case
        envs = runner.alg.storage.rows % runner.env.num_envs
    else:
        envs = runner.alg.batch["episode"]
    assert BAD in envs.tolist(), case
    metrics = runner.alg.update()
    assert all(map(math.isfinite, metrics.values())) and find_nonfinite(runner.alg.save()) is None, case
