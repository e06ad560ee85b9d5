# SPDX-License-Identifier: BSD-3-Clause
"""How collections are divided, and a short one in the simulator."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import pytest
import torch
from simulation_checks import run_check

from gr00t_rl.cli.collect import FORMATS, build_parser, check_arguments
from gr00t_rl.data import FORMATS as WRITTEN_FORMATS
from gr00t_rl.data.collect import (
    EPISODES_PER_ENV,
    HOPELESS,
    Collector,
    check_env_tells,
    collect,
    privileged_columns,
    quotas,
)
from gr00t_rl.data.task_modality import check_task
from gr00t_rl.gr00t import ActionKey, Modality, StateKey
from gr00t_rl.tasks.experts import ScriptedExpert
from gr00t_rl.utils.errors import ConfigurationError


def test_quotas_are_even_and_bounded_by_a_round():
    assert EPISODES_PER_ENV == 4
    assert quotas(7, 3) == [3, 2, 2]
    assert quotas(2, 3) == [1, 1, 0]
    assert quotas(1000, 3) == [4, 4, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--episodes", "0"], "--episodes is 0; set 1 or more"),
        (["--noise", "-1"], "--noise is -1.0; set 0 or more"),
        (["--task", "Gr00t-Juggle"], "--task: unknown task 'Gr00t-Juggle'.* tasks with an agent of gr00t_rl: Gr00t-"),
    ],
)
def test_mistakes_end_in_one_line(options, message):
    args = build_parser().parse_args(["--task", "Gr00t-Reach-Franka", "--episodes", "1", "--out", "x", *options])
    with pytest.raises(ConfigurationError, match=message):
        check_arguments(args)
        check_task(args.task)


def test_a_task_without_an_agent_is_told_how_to_get_one():
    gym.register(id="Bare-Task", entry_point="nowhere:Env", kwargs={})
    try:
        with pytest.raises(ConfigurationError, match=r"--task Bare-Task has no agent; name its runner cfg in gym.reg"):
            check_task("Bare-Task")
    finally:
        del gym.registry["Bare-Task"]


def test_an_env_that_says_no_instruction_is_told_how_to():
    with pytest.raises(ConfigurationError, match=r"env.instruction is not there, .* add `instruction: str = "):
        check_env_tells(SimpleNamespace(scene=None))
    check_env_tells(SimpleNamespace(instruction="reach"))


def test_an_env_that_says_no_success_is_told_how_to():
    modality = Modality("robot", {}, {"joints": StateKey("policy", 0, 1)}, {"arm": ActionKey(0, 1)})
    still = torch.zeros(1)

    class Env:
        num_envs, max_episode_length, device = 1, 5, "cpu"
        cfg = SimpleNamespace(instruction="wait")

        def reset(self, seed):
            return {"policy": torch.zeros(1, 1)}, {}

        def step(self, action):
            return {"policy": torch.zeros(1, 1)}, still, still.bool(), still.bool(), {}

    class Waits(ScriptedExpert):
        def __call__(self):
            return torch.zeros(1, 1)

    env: Any = Env()
    collector = Collector(env, Waits(env), modality, 0.0, torch.tensor([], dtype=torch.long))
    with pytest.raises(ConfigurationError, match=r"which episodes succeed; set terminations.success .*held_success"):
        next(collector.play(0, [1]))


def test_the_command_offers_what_the_writer_writes():
    assert FORMATS == WRITTEN_FORMATS


def test_privileged_terms_are_found_in_their_group():
    """Terms of 3, 2 x 2 and 1 dimensions: columns follow the order asked for."""
    manager = SimpleNamespace(
        active_terms={"critic": ["cube", "grid", "time"]}, group_obs_term_dim={"critic": [(3,), (2, 2), (1,)]}
    )
    env = SimpleNamespace(observation_manager=manager)
    names, columns = privileged_columns(env, ["time", "grid"])
    assert names == ("time_0", "grid_0", "grid_1", "grid_2", "grid_3")
    assert columns.tolist() == [7, 3, 4, 5, 6]
    assert privileged_columns(env, [])[1].shape == (0,)
    with pytest.raises(ConfigurationError, match=r"--privileged ball: .* of this task has cube, grid, time; name some"):
        privileged_columns(env, ["ball"])


@pytest.mark.sim
def test_collect_and_resume_in_the_simulator():
    """Reach: recorded states and labels are the env's and the expert's; a resumed collection has the same bits."""
    run_check("collect")


class Written:
    """A dataset that keeps nothing."""

    def __init__(self, rounds: int = 0) -> None:
        self.num_episodes = self.num_frames = 0
        self.rounds = rounds

    def add(self, episode) -> None:
        self.num_episodes += 1

    def commit(self, rounds: int) -> None:
        self.rounds = rounds


class Played:
    """Episodes that succeed or fail in a given order."""

    def __init__(self, successes) -> None:
        self.successes = iter(successes)

    def play(self, seed, counts):
        for _ in range(sum(counts)):
            yield SimpleNamespace(success=next(self.successes))


def test_an_expert_that_sometimes_fails_gets_to_the_end():
    """Late rounds are of the few episodes that are missing: one without success says nothing."""
    args: Any = SimpleNamespace(episodes=8, num_envs=4, task="T", keep_failures=False, seed=0, out="out")
    # failures end last, at the time limit, and so they come in one block
    many: Any = SimpleNamespace(episodes=500, num_envs=500, task="T", keep_failures=False, seed=0, out="out")
    block: Any = Written()
    collect(many, Played([True] * 300 + [False] * 200 + [True] * 200), block)  # type: ignore[arg-type]
    assert block.num_episodes == 500
    # 7 of the first 8, then single episodes that fail five times before one succeeds
    written: Any = Written(rounds=9)
    played: Any = Played([True] * 7 + [False] * 6 + [True])
    collect(args, played, written)
    assert written.num_episodes == 8


def test_a_hopeless_expert_is_told_so():
    args: Any = SimpleNamespace(episodes=40, num_envs=10, task="T", keep_failures=False, seed=0, out="out")
    failing: Any = Played([True] + [False] * 1000)
    writer: Any = Written()
    with pytest.raises(ConfigurationError, match=r"none of the last (\d+) episodes succeeded; set a smaller --noise"):
        collect(args, failing, writer)
    assert HOPELESS <= 1000 - len(list(failing.successes)) < HOPELESS + 2 * 40  # whole rounds
    kept: Any = Written()
    args.keep_failures = True
    collect(args, Played([False] * 40), kept)  # type: ignore[arg-type]
    assert kept.num_episodes == 40
