# SPDX-License-Identifier: BSD-3-Clause
"""The curriculum's level, and the starts it makes easier, on states made by hand."""

from types import SimpleNamespace

import pytest
import torch
from isaaclab.managers import CurriculumTermCfg

from gr00t_rl.tasks.push import mdp as push
from gr00t_rl.tasks.reach import mdp as reach
from gr00t_rl.tasks.tabletop import mdp

N = 4


class Scene(dict):
    rigid_objects: dict = {}


@pytest.fixture
def env() -> SimpleNamespace:
    return SimpleNamespace(
        num_envs=N,
        device="cpu",
        scene=Scene(),
        reset_buf=torch.ones(N, dtype=torch.bool),
        episode_length_buf=torch.ones(N, dtype=torch.long),
        max_episode_length=1,
        common_step_counter=0,
        extras={"success": torch.zeros(N, dtype=torch.bool)},
    )


@pytest.fixture
def finish(env):
    """End an episode of one step in every env with the given successes; returns the level a step later."""
    params = {"threshold": 0.75, "step": 0.4, "episodes": 2 * N, "start": 0.0}
    cfg = CurriculumTermCfg(func=mdp.success_curriculum, params=params)
    term = mdp.success_curriculum(cfg, env)

    def finish(*success: int, ids=slice(None)) -> float:
        env.extras["success"] = torch.tensor(success).bool()
        env.common_step_counter += 1
        term(env, ids, **params)
        env.common_step_counter += 1
        return term(env, torch.tensor([], dtype=torch.long), **params).item()

    return finish


def test_level_rises_at_the_threshold_and_counts_anew(finish) -> None:
    assert finish(1, 1, 1, 1) == 0.0  # only half as many episodes as must be counted
    assert finish(1, 1, 0, 0) == pytest.approx(0.4)  # 6 of 8 = 0.75
    assert finish(0, 0, 0, 0) == pytest.approx(0.4)  # they began before it rose
    assert finish(1, 1, 1, 1) == pytest.approx(0.4)
    assert finish(1, 0, 0, 0) == pytest.approx(0.4)  # 5 of 8
    assert finish(1, 1, 1, 1) == pytest.approx(0.4)  # 5 of the last 8
    assert finish(1, 1, 1, 1) == pytest.approx(0.8)  # 8 of the last 8
    finish(0, 0, 0, 0)
    finish(1, 1, 1, 1)
    assert finish(1, 1, 1, 1) == 1.0  # not 1.2


def test_an_evaluation_has_the_full_task_and_does_not_count(finish, env) -> None:
    assert mdp.curriculum_level(env) == 0.0 and mdp.curriculum_value(env, 1.0, 5.0) == 1.0
    env.evaluating = True
    assert mdp.curriculum_level(env) is None and mdp.curriculum_value(env, 1.0, 5.0) == 5.0
    for _ in range(5):
        assert finish(1, 1, 1, 1) == 0.0
    env.evaluating = False
    assert finish(1, 1, 1, 1) == 0.0 and finish(1, 1, 1, 1) == pytest.approx(0.4)


def test_episodes_of_an_easier_level_do_not_count(finish) -> None:
    half = torch.tensor([0, 1])
    for _ in range(4):
        level = finish(1, 1, 0, 0, ids=half)
    assert level == pytest.approx(0.4)
    finish(1, 1, 1, 1)  # all still play the old level
    for _ in range(3):
        assert finish(1, 1, 1, 1, ids=half) == pytest.approx(0.4)  # 2, 4, 6
    assert finish(1, 1, 1, 1, ids=half) == pytest.approx(0.8)  # 8


def test_quick_successes_are_counted_with_the_failures_that_began_with_them(env) -> None:
    """Two of four envs succeed in every step, the others' time is up after four: half of the first episodes succeed."""
    env.max_episode_length = 4
    params = {"threshold": 0.75, "step": 0.4, "episodes": N, "start": 0.0}
    term = mdp.success_curriculum(CurriculumTermCfg(func=mdp.success_curriculum, params=params), env)
    env.episode_length_buf[:] = 0
    levels = []
    for step in range(1, 7):
        env.common_step_counter, env.episode_length_buf = step, env.episode_length_buf + 1
        env.extras["success"] = torch.tensor([True, True, False, False])
        ids = torch.tensor([0, 1]) if step != 4 else torch.arange(N)
        levels.append(term(env, ids, **params).item())
        env.episode_length_buf[ids] = 0
    assert levels == [0.0] * 6  # counted when they end, the first four episodes would all be successes


@pytest.mark.parametrize("evaluates", [False, True])
@pytest.mark.parametrize("successes", [2, 1])
def test_iterations_of_one_episodes_length_raise_the_level(env, successes, evaluates) -> None:
    """As under GRPO, which resets all envs when their time is up: some succeed in step 2 of 4, the others time out."""
    env.max_episode_length = 4
    params = {"threshold": 0.5, "step": 0.4, "episodes": N, "start": 0.0}
    term = mdp.success_curriculum(CurriculumTermCfg(func=mdp.success_curriculum, params=params), env)
    levels, everyone = [], torch.arange(N)
    for _ in range(3):
        env.episode_length_buf[:] = 0
        for step in range(1, 5):
            env.common_step_counter, env.episode_length_buf = env.common_step_counter + 1, env.episode_length_buf + 1
            if step in (2, 4):
                ids = everyone[:successes] if step == 2 else everyone[successes:]
                env.reset_buf = torch.zeros(N, dtype=torch.bool).index_fill(0, ids, True)
                env.extras["success"] = env.reset_buf & (step == 2)
                term(env, ids, **params)
                env.episode_length_buf[ids] = 0
        env.reset_buf = torch.zeros(N, dtype=torch.bool)
        if evaluates:
            env.evaluating, counter = True, env.common_step_counter
            term(env, slice(None), **params)
            env.common_step_counter += 7
            term(env, slice(None), **params)
            env.evaluating, env.common_step_counter = False, counter
        levels.append(term(env, slice(None), **params).item())
    assert levels == pytest.approx([0.4, 0.8, 1.0] if successes == 2 else [0.0] * 3)


def test_abandoned_episodes_do_not_count(env, finish) -> None:
    env.reset_buf[:] = False
    for _ in range(5):
        assert finish(1, 1, 1, 1) == 0.0


def test_values_move_with_the_level(env) -> None:
    assert mdp.curriculum_level(env) is None
    assert mdp.curriculum_value(env, 0.2, 0.6) == 0.6
    for level, value in ((0.0, 0.2), (0.5, 0.4), (1.0, 0.6)):
        env._curriculum_level = torch.tensor(level)
        assert mdp.curriculum_value(env, 0.2, 0.6).item() == pytest.approx(value)


def test_push_goals_come_closer_on_the_line_to_the_cube() -> None:
    """10 to 30 cm become 6 to 16 cm: 20 cm, the middle, becomes 11 cm; a goal that is too near already stays."""
    cube = torch.tensor([[0.5, 0.1]]).expand(4, 2)
    offset = torch.tensor([[0.1, 0.0], [0.0, -0.2], [0.18, 0.24], [0.03, 0.04]])
    goal = push.closer_goal(cube, cube + offset, (0.1, 0.3), (0.06, 0.16))
    expected = torch.tensor([[0.06, 0.0], [0.0, -0.11], [0.096, 0.128], [0.03, 0.04]])
    assert torch.allclose(goal - cube, expected, atol=1e-6)


@pytest.mark.parametrize(("level", "share"), [(None, 1.0), (0.0, 0.25), (0.5, 0.625), (1.0, 1.0)])
def test_reach_goals_fill_a_share_of_the_box(env, level, share) -> None:
    """The box spans 0.4 to 0.8 in x and the arm starts at 0.5: 10 cm to one side of it and 30 cm to the other."""
    if level is not None:
        env._curriculum_level = torch.tensor(level)
    torch.manual_seed(0)
    box = {"lower": (0.4, -0.2, 0.1), "upper": (0.8, 0.2, 0.5), "start": (0.5, 0.0, 0.3), "easy_share": 0.25}
    x = []
    for _ in range(500):
        reach.reset_goal(env, slice(None), **box)
        x.append(mdp.goal_position(env)[:, 0].clone())
    x = torch.cat(x)
    assert 0.5 - 0.1 * share - 1e-6 <= x.min() < 0.5 - 0.095 * share
    assert 0.5 + 0.295 * share < x.max() <= 0.5 + 0.3 * share + 1e-6


def draw_alone(env) -> int:
    mdp.reset_instruction(env, torch.tensor([1], dtype=torch.int32))
    return int(mdp.instruction_index(env)[1])


def test_instructions_are_drawn_evenly(env) -> None:
    torch.manual_seed(0)
    env.cfg = SimpleNamespace(instructions=["a", "b", "c"])
    assert mdp.instruction_index(env).tolist() == [[0]] * N
    drawn = []
    for _ in range(300):
        mdp.reset_instruction(env, slice(None))
        drawn.append(mdp.instruction_index(env).flatten().clone())
    assert mdp.instruction_index(env).dtype == torch.int64
    counts = torch.cat(drawn).bincount()
    # 1,200 draws, 400 expected of each, standard deviation 16
    assert len(counts) == 3 and (counts - 400).abs().max() < 65
    # envs that start together: no instruction is given more than once more than another
    assert all(given.bincount(minlength=3).max() - given.bincount(minlength=3).min() <= 1 for given in drawn)
    each = torch.stack(drawn).float()
    assert (each.mean(0) - 1.0).abs().max() < 0.2, "and to every env each as often"
    alone = [draw_alone(env) for _ in range(300)]
    assert min(alone.count(number) for number in range(3)) > 65
    before = mdp.instruction_index(env).clone()
    mdp.reset_instruction(env, torch.tensor([0, 1], dtype=torch.int32))
    assert torch.equal(mdp.instruction_index(env)[2:], before[2:])
