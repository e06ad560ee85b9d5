# SPDX-License-Identifier: BSD-3-Clause
"""Advantages of decisions of variable duration against an obvious reference, and against rsl_rl's own PPO."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.multiprocessing as mp
from helpers import normalize_as_rank
from rsl_rl.algorithms import PPO as StockPPO
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict

from gr00t_rl.algorithms.returns import normalize, semi_mdp_gae
from gr00t_rl.models import ChunkQueue
from gr00t_rl.storage import DecisionStorage

GAMMA, LAM = 0.9, 0.8


def episode_stream(num_envs: int, num_steps: int, generator: torch.Generator) -> list[SimpleNamespace]:
    """Random rewards, ends, time-outs and values, one entry per env step."""
    steps = []
    for _ in range(num_steps):
        terminated, time_out = torch.rand(2, num_envs, generator=generator) < 0.15
        value, final_value, reward = torch.randn(3, num_envs, generator=generator)
        time_out = time_out & ~terminated
        steps.append(SimpleNamespace(reward=reward, done=terminated | time_out, time_out=time_out, value=value))
        steps[-1].bootstrap = torch.where(time_out, final_value, 0.0)
    return steps


def collect(storage: DecisionStorage, steps: list[SimpleNamespace], length: int) -> None:
    """Drive the storage as PPO does, with chunks of ``length`` steps."""
    queue = ChunkQueue(storage.num_envs, length, 1, "cpu")
    for step in steps:
        ids = queue.due_ids()
        if len(ids) > 0:
            storage.open(ids, TensorDict({"value": step.value[ids]}, batch_size=[len(ids)]))
            queue.push(ids, torch.zeros(len(ids), length, 1))
        queue.pop()
        storage.step(step.reward, step.done.long(), step.bootstrap)
        queue.clear(step.done)


def reference(steps: list[SimpleNamespace], length: int, last_value: float, env: int) -> list[float]:
    """Advantages of one env's decisions, in plain numbers: cut into decisions, then A_d from the last to the first."""
    decisions: list[dict] = []
    running = None
    for step in steps:
        if running is None:
            running = {"value": step.value[env].item(), "rewards": [], "end": None}
            decisions.append(running)
        running["rewards"].append(step.reward[env].item())
        if step.done[env]:
            running["end"] = step.bootstrap[env].item()
            running = None
        elif len(running["rewards"]) == length:
            running = None
    advantages = []
    next_value, next_advantage = last_value, 0.0
    for decision in reversed(decisions):
        k = len(decision["rewards"])
        total = sum(GAMMA**i * r for i, r in enumerate(decision["rewards"]))
        if decision["end"] is None:
            delta = total + GAMMA**k * next_value - decision["value"]
            advantage = delta + GAMMA**k * LAM * next_advantage
        else:
            advantage = total + GAMMA**k * decision["end"] - decision["value"]
        advantages.append(advantage)
        next_value, next_advantage = decision["value"], advantage
    return advantages[::-1]


@pytest.mark.parametrize("length", [1, 3, 4, 20])
def test_gae_of_random_episodes_against_plain_python(length):
    """Resets in the middle of chunks, time-outs, ends on the last step, and several iterations in a row."""
    generator = torch.Generator().manual_seed(length)
    num_envs, num_steps = 12, 11
    storage = DecisionStorage(num_envs, num_steps, GAMMA, "cpu")
    for _ in range(3):
        steps = episode_stream(num_envs, num_steps, generator)
        last_values = torch.randn(num_envs, generator=generator)
        collect(storage, steps, length)
        found = semi_mdp_gae(storage.rewards, storage.values, storage.discounts, storage.valid, last_values, LAM)
        for env in range(num_envs):
            expected = reference(steps, length, last_values[env].item(), env)
            assert storage.valid[:, env].sum() == len(expected)
            torch.testing.assert_close(found[: len(expected), env], torch.tensor(expected))
            assert not found[len(expected) :, env].any()
        assert len(storage.rows) == storage.valid.sum()
        storage.clear()


def test_gae_of_two_decisions_by_hand():
    """Durations 2 and 1, gamma 1/2, lambda 1/2, V = 4, 8, then 16 at the end.

    d = 1: 1 + 8 - 8 = 1. d = 0: (2 + 2/2) + 8/4 - 4 = 1, and A_0 = 1 + 1/4 * 1/2 * 1.
    """
    rewards, values, discounts = (torch.tensor(c)[:, None] for c in ([3.0, 1.0], [4.0, 8.0], [0.25, 0.5]))
    valid = torch.ones(2, 1, dtype=torch.bool)
    found = semi_mdp_gae(rewards, values, discounts, valid, torch.tensor([16.0]), 0.5)
    assert found.squeeze(1).tolist() == [1.125, 1.0]


def test_single_step_decisions_equal_stock_rsl_rl():
    """With one env step per decision, returns and normalised advantages are those of rsl_rl's PPO."""
    generator = torch.Generator().manual_seed(0)
    num_envs, num_steps = 6, 9
    steps = episode_stream(num_envs, num_steps, generator)
    for step in steps:
        step.bootstrap = torch.zeros(num_envs)  # stock rsl_rl has no value of the final observation
    last_values = torch.randn(num_envs, generator=generator)

    storage = DecisionStorage(num_envs, num_steps, GAMMA, "cpu")
    collect(storage, steps, 1)
    advantages = semi_mdp_gae(storage.rewards, storage.values, storage.discounts, storage.valid, last_values, LAM)

    obs = TensorDict({"policy": torch.zeros(num_envs, 1)}, batch_size=[num_envs])
    stock = RolloutStorage("rl", num_envs, num_steps, obs, [1])
    for step in steps:
        transition = RolloutStorage.Transition()
        transition.observations, transition.actions = obs, torch.zeros(num_envs, 1)
        transition.rewards, transition.dones, transition.values = step.reward, step.done, step.value[:, None]
        transition.actions_log_prob = torch.zeros(num_envs)
        transition.distribution_params = (torch.zeros(num_envs, 1),)
        stock.add_transition(transition)

    class Critic:
        def __call__(self, obs: TensorDict) -> torch.Tensor:
            return last_values[:, None]

        def get_hidden_state(self) -> None: ...
        def reset(self, hidden_state: None) -> None: ...

    algorithm = SimpleNamespace(
        storage=stock, critic=Critic(), gamma=GAMMA, lam=LAM, normalize_advantage_per_mini_batch=False
    )
    StockPPO.compute_returns(algorithm, obs)  # type: ignore[arg-type]
    torch.testing.assert_close(advantages + storage.values, stock.returns.squeeze(-1))
    torch.testing.assert_close(normalize(advantages), stock.advantages.squeeze(-1))


def test_normalize_by_hand():
    """Mean 2, unbiased std 1."""
    torch.testing.assert_close(normalize(torch.tensor([1.0, 2.0, 3.0])), torch.tensor([-1.0, 0.0, 1.0]))


@pytest.mark.parametrize("values", [[4.0, 4.0, 4.0], [4.0]])
def test_normalize_of_values_that_do_not_vary_is_zero(values):
    """Not NaN either where there is a single decision, whose unbiased std does not exist."""
    assert normalize(torch.tensor(values)).tolist() == [0.0] * len(values)


def test_normalize_over_two_ranks_equals_one_process_over_the_union(tmp_path):
    """Ranks may hold different numbers of decisions, and a mean far from zero."""
    generator = torch.Generator().manual_seed(0)
    parts = [200.0 + torch.randn(n, generator=generator) for n in (7, 12)]
    mp.spawn(normalize_as_rank, (str(tmp_path / "store"), parts, str(tmp_path / "rank")), nprocs=2)  # type: ignore
    found = torch.cat([torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)])
    torch.testing.assert_close(found, normalize(torch.cat(parts)), atol=1e-4, rtol=1e-4)


def test_a_decision_that_is_left_out_cuts_what_came_before():
    """V 1, 2, 3, 4, R 10 each, g 0.5, end value 6: the third goes, and the second ends with its value 3.

    A_1 = 10 + 0.5 * 3 - 2 = 9.5, A_0 = 10 + 0.5 * 2 - 1 + 0.5 * 0.8 * 9.5 = 13.8, A_3 = 10 + 0.5 * 6 - 4 = 9.
    """
    column = torch.ones(4, 1)
    values = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    discarded = torch.tensor([[False], [False], [True], [False]])
    advantages = semi_mdp_gae(
        10 * column, values, 0.5 * column, column.bool(), torch.tensor([6.0]), LAM, discarded=discarded
    )
    torch.testing.assert_close(advantages[[0, 1, 3], 0], torch.tensor([13.8, 9.5, 9.0]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_bad_advantage_spoils_no_other(value):
    x = torch.tensor([1.0, value, 2.0, 6.0])
    kept = torch.tensor([0, 2, 3])
    result = normalize(x)
    assert torch.equal(result[kept], normalize(x[kept])) and not result[1].isfinite()
