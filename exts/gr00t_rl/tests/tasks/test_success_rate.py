# SPDX-License-Identifier: BSD-3-Clause
"""What the env says of success, on episodes made by hand, without a simulator."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from isaaclab.managers import TerminationTermCfg

from gr00t_rl.tasks.tabletop import mdp
from gr00t_rl.tasks.tabletop.mdp.history import OutcomeHistory, OutcomesDue
from gr00t_rl.tasks.tabletop.mdp.terminations import (
    FAILURE_RATE_TAG,
    SUCCESS_RATE_TAG,
    TIME_OUT_RATE_TAG,
    kinds_of_ending,
)

HORIZON = 6
TAGS = (SUCCESS_RATE_TAG, FAILURE_RATE_TAG, TIME_OUT_RATE_TAG)


class Episodes:
    """An env whose episodes end as we say: after ``lengths`` steps, which are drawn anew, each in one of three ways."""

    def __init__(self, num_envs: int, instructions: int = 1, seed: int = 0):
        self.rng = torch.Generator().manual_seed(seed)
        self.env: Any = SimpleNamespace(
            num_envs=num_envs,
            device="cpu",
            cfg=SimpleNamespace(),
            step_dt=0.05,
            max_episode_length=HORIZON,
            episode_length_buf=torch.zeros(num_envs, dtype=torch.long),
            reset_buf=torch.zeros(num_envs, dtype=torch.bool),
            extras={"log": {}},
            termination_manager=SimpleNamespace(terminated=torch.zeros(num_envs, dtype=torch.bool)),
        )
        if instructions > 1:
            names = [f"task{number}" for number in range(instructions)]
            self.env.cfg = SimpleNamespace(sample_instructions=True, instruction_names=lambda: names)
        self.instructions = instructions
        cfg = TerminationTermCfg(
            func=mdp.held_success, params={"test": lambda _: self.ends & (self.kind == 0), "hold_s": 0.05}
        )
        self.params, self.term = cfg.params, mdp.held_success(cfg, self.env)
        self.now, self.ended = 0, []  # (begun, env, kind, instruction)
        self.kind = self.length = self.instruction = torch.zeros(num_envs, dtype=torch.long)
        self.reset()

    def draw(self) -> None:
        """New lengths and endings of the envs that begin; a time-out takes the whole time, a success is quick."""
        n, begins = self.env.num_envs, self.env.episode_length_buf == 0
        kind = torch.randint(3, (n,), generator=self.rng)
        length = torch.where(kind == 2, HORIZON, torch.randint(1, HORIZON, (n,), generator=self.rng))
        instruction = torch.randint(self.instructions, (n,), generator=self.rng)
        self.kind, self.length = torch.where(begins, kind, self.kind), torch.where(begins, length, self.length)
        self.instruction = torch.where(begins, instruction, self.instruction)
        if self.instructions > 1:
            mdp.instruction_index(self.env)[:, 0] = self.instruction

    def reset(self) -> None:
        """What ``env.reset()`` does."""
        self.env.reset_buf[:] = False  # of the step before, in which nobody ended, say
        self.term.reset(slice(None))
        self.env.episode_length_buf[:] = 0
        self.draw()

    def step(self) -> None:
        env = self.env
        env.episode_length_buf += 1
        self.now += 1
        self.ends = env.reset_buf = env.episode_length_buf == self.length
        success = self.term(env, **self.params)
        assert torch.equal(success, self.ends & (self.kind == 0))
        env.termination_manager.terminated = self.ends & (self.kind < 2)
        ids = self.ends.nonzero()[:, 0]
        for i in ids.tolist():
            begun = self.now - int(env.episode_length_buf[i])
            self.ended.append((begun, i, int(self.kind[i]), int(self.instruction[i])))
        if len(ids):
            self.term.reset(ids.to(torch.int32) if len(ids) < env.num_envs else slice(None))
            env.episode_length_buf[ids] = 0
            self.draw()

    @property
    def rates(self) -> list[float]:
        return [self.env.extras["log"][tag].item() for tag in TAGS]

    def expected(self, since: int = 0, instruction: int | None = None) -> list[float]:
        """The rates of the episodes that began at ``since`` or later and whose time was up before this step; at its end
        if all envs are reset then.
        """
        due = sorted(e for e in self.ended if since <= e[0] < self.now - HORIZON + bool(self.env.reset_buf.all()))
        due = [e for e in due if instruction in (None, e[3])][-max(256, self.env.num_envs) :]
        return [sum(e[2] == kind for e in due) / max(1, len(due)) for kind in range(3)]


@pytest.mark.parametrize("num_envs", [1, 5, 300])
def test_an_episode_counts_when_its_time_would_have_been_up(num_envs) -> None:
    """Against a list of all episodes; before the first is due nothing is said."""
    episodes = Episodes(num_envs)
    for step in range(1, 60):
        episodes.step()
        if step < HORIZON + (num_envs > 1):
            assert not episodes.env.extras["log"]
        elif episodes.env.reset_buf.any():
            assert episodes.rates == pytest.approx(episodes.expected(), abs=1e-6)
    assert len(episodes.ended) > 8 * num_envs


def test_the_first_rate_is_no_higher_than_the_last() -> None:
    """A third succeeds, quickly: counted at their ends, the first would be two thirds, successes and failures alone."""
    episodes = Episodes(20_000)
    seen = []
    for _ in range(8 * HORIZON):
        episodes.step()
        seen += episodes.rates[:1] if episodes.env.extras["log"] else []
    assert len(seen) > 6 * HORIZON
    assert max(abs(rate - 1 / 3) for rate in seen) < 5 * (2 / 9 / 20_000) ** 0.5


def test_first_episodes_of_a_random_length_do_not_count() -> None:
    """rsl_rl's init_at_random_ep_len: they have less time than others."""
    episodes = Episodes(200)
    episodes.env.episode_length_buf[:] = torch.randint(HORIZON, (200,), generator=episodes.rng)
    episodes.length = torch.where(episodes.kind == 2, HORIZON, episodes.env.episode_length_buf + 1)
    for _ in range(5 * HORIZON):
        episodes.step()
    assert any(e[0] < 0 for e in episodes.ended)
    assert episodes.rates == pytest.approx(episodes.expected(), abs=1e-6)


def test_each_instruction_has_a_rate() -> None:
    episodes = Episodes(50, instructions=2)
    for _ in range(5 * HORIZON):
        episodes.step()
    log = episodes.env.extras["log"]
    for number in range(2):
        rate = log[f"{SUCCESS_RATE_TAG}/task{number}"].item()
        assert rate == pytest.approx(episodes.expected(instruction=number)[0], abs=1e-6)
    assert episodes.rates == pytest.approx(episodes.expected(), abs=1e-6)


@pytest.mark.parametrize("evaluates", [False, True], ids=["reset", "evaluation"])
def test_what_is_abandoned_does_not_count(evaluates) -> None:
    """Neither the episodes under way nor the quick ones that began with them; the rate so far stays as it is."""
    episodes = Episodes(50)
    for _ in range(3 * HORIZON + 2):
        episodes.step()
    kept = [e for e in episodes.ended if e[0] <= episodes.now - HORIZON]  # whose time is up
    episodes.env.evaluating = evaluates
    episodes.reset()
    before = episodes.rates
    assert before == pytest.approx([sum(e[2] == kind for e in kept) / len(kept) for kind in range(3)], abs=1e-6)
    for _ in range(HORIZON + 3 if evaluates else 0):
        episodes.step()
        assert episodes.rates == before
    if evaluates:
        episodes.reset()
        episodes.env.evaluating = False
    since = episodes.now
    for _ in range(2 * HORIZON):
        episodes.step()
        if episodes.now <= since + HORIZON and episodes.env.reset_buf.any():
            assert episodes.rates == pytest.approx(before)
    episodes.ended = kept + [e for e in episodes.ended if e[0] >= since]
    assert episodes.rates == pytest.approx(episodes.expected(), abs=1e-6)
    assert episodes.rates != pytest.approx(before)


@pytest.mark.parametrize("evaluates", [False, True], ids=["reset", "evaluation"])
def test_iterations_of_one_episodes_length_are_counted(evaluates) -> None:
    """A reset of all envs, or an evaluation, just when the first episodes' time is up, and only then."""
    episodes = Episodes(50)
    for _ in range(4):
        for _ in range(HORIZON):
            episodes.step()
        episodes.env.evaluating = evaluates
        episodes.reset()
        if evaluates:
            episodes.step()
            episodes.ended = [e for e in episodes.ended if e[0] != episodes.now - 1]
            episodes.reset()
            episodes.env.evaluating = False
    first = [e for e in episodes.ended if e[0] % (HORIZON + evaluates) == 0]
    assert len(first) == 200
    assert episodes.rates == pytest.approx([sum(e[2] == kind for e in first) / 200 for kind in range(3)], abs=1e-6)


def test_an_episode_that_was_ended_a_step_late_counts() -> None:
    """An env that was not finite gets the clock of the last step, and is ended in the next (quarantine)."""
    due = OutcomesDue(2, HORIZON, "cpu")
    for _ in range(HORIZON + 3):
        assert not due.step().any()
    due.record(torch.tensor([1]), torch.tensor([3]), torch.tensor([HORIZON + 1]))
    assert due.step().tolist() == [0, 3] and not due.step().any()


def test_success_must_hold_without_a_break() -> None:
    episodes = Episodes(3)
    now = torch.tensor([True, True, False])

    def step() -> list[bool]:
        return episodes.term(episodes.env, test=lambda _: now, hold_s=0.15).tolist()

    cfg = TerminationTermCfg(func=mdp.held_success, params={"test": lambda _: now, "hold_s": 0.15})
    episodes.term = mdp.held_success(cfg, episodes.env)
    assert step() == step() == [False, False, False]
    now[1] = False
    assert step() == [True, False, False]
    now[1] = True
    assert step() == [True, False, False]
    assert episodes.env.extras["success"].tolist() == [True, False, False]


def test_endings_are_told_apart() -> None:
    """Of four episodes one succeeds, one is lost, one is both at once, one runs out of time."""
    kinds = kinds_of_ending(torch.tensor([1, 0, 1, 0]).bool(), torch.tensor([1, 1, 1, 0]).bool())
    assert kinds.int().tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]]


def test_history_keeps_the_last_outcomes() -> None:
    history = OutcomeHistory(4, 1, "cpu")
    history.append(torch.tensor([[False], [True], [False]]), torch.tensor([True, False, True]))
    assert history.mean() == 0.0 and not history.full()
    for _ in range(3):
        history.append(torch.tensor([[True]]), torch.tensor([True]))
    assert history.mean().item() == pytest.approx(0.75)  # the first of the two failures has dropped out
    history.forget(torch.tensor(False))
    assert history.full()
    history.forget(torch.tensor(True))
    assert not history.full() and history.mean() == 0.0
    history.append(torch.tensor([[True]]), torch.tensor([True]))
    assert history.mean() == 1.0


def test_an_env_may_be_reset_outside_of_the_mode_that_it_was_stepped_in() -> None:
    """As in a user's loop: ``with torch.inference_mode(): env.step(...)``, then ``env.reset()``."""
    episodes = Episodes(4)
    episodes.ends, episodes.kind = torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.long)
    for expected in (1, 2):
        with torch.inference_mode():
            episodes.term(episodes.env, **episodes.params)
        assert episodes.term._held.tolist() == [expected] * 4
    episodes.term.reset([0, 1])
    assert episodes.term._held.tolist() == [0, 0, 2, 2]
