# SPDX-License-Identifier: BSD-3-Clause
"""Which episodes count, on a vectorised env whose outcomes are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from gr00t_rl.evaluation import EpisodeRecorder, play_episodes

SHORT, LONG = 2, 10
"""Env steps of a success and of a failure."""


class TwoOutcomesEnv:
    """Episodes that succeed after 2 steps or fail after 10; env e's k-th episode succeeds where ``wins[e][k]``.

    A step pays 1 + the env's number. ``position`` is (env, episode, 0).
    """

    def __init__(self, wins: list[list[bool]], reports_success: bool = True) -> None:
        self.wins = torch.tensor(wins)
        self.num_envs, self.device, self.cfg = len(wins), "cpu", SimpleNamespace()
        self.reports_success = reports_success
        self.decision_due: torch.Tensor | None = None
        self.asked: list[torch.Tensor] = []
        """``decision_due`` as it was at every step."""

    @property
    def unwrapped(self) -> "TwoOutcomesEnv":
        return self

    def reset(self) -> tuple[TensorDict, dict]:
        self.episode = torch.zeros(self.num_envs, dtype=torch.long)
        self.clock = torch.zeros(self.num_envs, dtype=torch.long)
        return self._observe(), {}

    def positions(self) -> dict[str, torch.Tensor]:
        index = torch.arange(self.num_envs)
        return {"cup": torch.stack((index, self.episode, torch.zeros_like(index)), dim=-1).float()}

    def step(self, action: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict]:
        assert action.shape == (self.num_envs, 1)
        if self.decision_due is not None:
            self.asked.append(self.decision_due.clone())
        self.clock += 1
        will_win = self.wins[torch.arange(self.num_envs), self.episode % self.wins.shape[1]]
        done = self.clock >= torch.where(will_win, SHORT, LONG)
        extras = {"success": done & will_win} if self.reports_success else {}
        self.episode += done
        self.clock[done] = 0
        return self._observe(), 1.0 + torch.arange(self.num_envs), done.long(), extras

    def _observe(self) -> TensorDict:
        return TensorDict({"policy": self.clock[:, None].float()}, [self.num_envs])


class Policy:
    """Decides once in three steps, and anew after a reset."""

    def __init__(self, align_decisions: bool = False) -> None:
        self.left: torch.Tensor | None = None
        self.align_decisions = align_decisions

    def __call__(self, obs: TensorDict) -> torch.Tensor:
        clock = obs["policy"]
        if self.left is None:
            self.left = torch.zeros(len(clock), dtype=torch.long)
        self.left = torch.where(self.left == 0, 2, self.left - 1)
        return clock

    @property
    def due(self) -> torch.Tensor | None:
        return None if self.left is None else self.left == 0

    def reset(self, dones: torch.Tensor | None = None) -> None:
        self.left = None if dones is None or self.left is None else torch.where(dones.bool(), 0, self.left)


def evaluate(env: TwoOutcomesEnv, num_episodes: int):
    recorder, _ = play_episodes(
        env, Policy(), lambda: EpisodeRecorder(env.num_envs, num_episodes, "cpu", env.positions)
    )
    return recorder.episodes()


def test_every_env_plays_its_share_in_a_fixed_order() -> None:
    """Five episodes of two envs: env 0 plays three, env 1 two, however long they take."""
    env = TwoOutcomesEnv([[True, False, True, True], [False, True, True, True]])
    found = evaluate(env, 5)
    assert found.success is not None
    # episode k of env e is number 2 k + e
    assert found.success.tolist() == [True, False, False, True, True]
    assert found.lengths.tolist() == [2, 10, 10, 2, 2]
    assert found.returns.tolist() == [2.0, 20.0, 10.0, 4.0, 2.0]
    np.testing.assert_array_equal(found.starts["cup"], [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 2, 0]])


def test_short_episodes_are_not_favoured() -> None:
    """Half of all episodes succeed, five times as fast: the first to end would say 5/6 or more."""
    generator = torch.Generator().manual_seed(0)
    wins = torch.rand(64, 40, generator=generator) < 0.5
    env = TwoOutcomesEnv(wins.tolist())
    found = evaluate(env, 256)
    assert found.success is not None
    np.testing.assert_array_equal(found.success, wins[:, :4].T.flatten().numpy())
    first_to_end = _first_to_end(TwoOutcomesEnv(wins.tolist()), 256)
    assert abs(found.success.mean() - 0.5) < 0.1 < first_to_end - 0.5


def _first_to_end(env: TwoOutcomesEnv, num_episodes: int) -> float:
    env.reset()
    outcomes: list[bool] = []
    while len(outcomes) < num_episodes:
        _, _, dones, extras = env.step(torch.zeros(env.num_envs, 1))
        outcomes += extras["success"][dones.bool()].tolist()
    return sum(outcomes[:num_episodes]) / num_episodes


def test_more_envs_than_episodes() -> None:
    found = evaluate(TwoOutcomesEnv([[True], [False], [True]]), 2)
    assert found.lengths.tolist() == [2, 10]


def test_success_is_unknown_where_the_env_does_not_say() -> None:
    found = evaluate(TwoOutcomesEnv([[True], [False]], reports_success=False), 2)
    assert found.success is None
    assert found.lengths.tolist() == [2, 10]


def test_the_env_learns_who_will_look() -> None:
    """After steps 3, 6, 9 of a chunk the policy decides: that is set before the step that leads there."""
    env = TwoOutcomesEnv([[False], [True]])
    evaluate(env, 2)
    asked = torch.stack(env.asked)
    assert asked[:9, 0].tolist() == [False, False, True] * 3
    # env 1 is reset every second step and never comes to its third
    assert not asked[:, 1].any()


def test_the_instruction_of_the_episode_that_ends_is_kept() -> None:
    """The env says in each step which instruction the episode had that may have ended in it."""
    env = TwoOutcomesEnv([[True, False], [False, True]])
    step = env.step

    def instructed(action: torch.Tensor):
        number = 10 * torch.arange(2) + env.episode
        obs, rewards, dones, extras = step(action)
        return obs, rewards, dones, extras | {"instruction": number}

    env.step = instructed  # type: ignore[method-assign]
    found = evaluate(env, 3)
    assert found.instruction is not None and found.instruction.tolist() == [0, 10, 1]
    assert evaluate(TwoOutcomesEnv([[True]]), 1).instruction is None


def test_envs_that_have_played_their_share_rest() -> None:
    """Told after every step; three episodes of two envs: env 1 is through after 2 steps, env 0 after 2 + 10."""
    told: list[list[bool]] = []
    policy = Policy()
    policy.rest = lambda envs: told.append(envs.tolist())  # type: ignore[attr-defined]
    env = TwoOutcomesEnv([[True, False], [True, False]])
    play_episodes(env, policy, lambda: EpisodeRecorder(2, 3, "cpu"))
    assert told[:12] == [[False, False]] + [[False, True]] * 10 + [[True, True]]


def test_what_is_cut_counts_as_far_as_it_went() -> None:
    recorder = EpisodeRecorder(2, 2, "cpu")
    for dones in ([0, 0], [1, 0], [0, 0]):
        recorder.step(torch.ones(2), torch.tensor(dones), torch.tensor([True, False]))
    recorder.cut()
    found = recorder.episodes()
    assert found.lengths.tolist() == [2, 3] and found.returns.tolist() == [2.0, 3.0]
    assert found.success is not None and found.success.tolist() == [True, False]


def test_unfinished_episodes_are_no_result() -> None:
    recorder = EpisodeRecorder(2, 2, "cpu")
    recorder.step(torch.ones(2), torch.tensor([1, 0]), torch.tensor([True, False]))
    with pytest.raises(ValueError, match="1 of 2"):
        recorder.episodes()
