# SPDX-License-Identifier: BSD-3-Clause
"""Cubes: terms chosen by the instruction on states made by hand, starts, and how the cfg fits together."""

from types import SimpleNamespace

import pytest
import torch
from hand_made_env import SIZE, make_env
from isaaclab.managers import RewardTermCfg
from isaaclab_tasks.utils.hydra import resolve_task_config
from simulation_checks import run_check

import gr00t_rl.tasks  # noqa: F401
from gr00t_rl.tasks.cubes import mdp
from gr00t_rl.tasks.cubes.config.franka.agents.rsl_rl_gr00t_cfg import STATE
from gr00t_rl.tasks.cubes.config.franka.cubes_env_cfg import EventsCfg

TASK = "Gr00t-Tabletop-Cubes-Franka"
PUSH, PICK_PLACE, STACK = range(3)
LAYOUT = EventsCfg().reset_layout.params


def in_state(cube: list[float], base: list[float], goal: list[float], width: float = SIZE) -> SimpleNamespace:
    """Three envs in the same state, one per task; the TCP is at (0.5, 0, 0.2)."""
    env = make_env([cube] * 3, [base] * 3, width)
    env._goal_position = torch.tensor([goal] * 3)
    env._instruction_index = torch.tensor([[PUSH], [PICK_PLACE], [STACK]])
    return env


def test_the_instruction_chooses() -> None:
    env = in_state([0.5, 0.0, 0.2], [0.4, 0.0, 0.02], [0.5, 0.1, 0.2])
    env._instruction_index = torch.tensor([[STACK], [PUSH], [STACK]])
    values = (torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0]), torch.tensor([7.0, 8.0, 9.0]))
    assert mdp.of_task(env, *values).tolist() == [7.0, 2.0, 9.0]
    assert mdp.task_one_hot(env).tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1]]


# cube, blue cube, goal, gripper's width [m] -> done for push, pick_place, stack
STATES = [
    ([0.5, 0.04, 0.0225], [0.4, 0.0, 0.0225], [0.5, 0.0, 0.0], 0.0, (True, True, False)),  # on the table at the goal
    ([0.5, 0.0, 0.16], [0.4, 0.0, 0.0225], [0.5, 0.0, 0.2], SIZE, (True, True, False)),  # 4 cm under a high goal
    ([0.5, 0.0, 0.0225], [0.4, 0.0, 0.0225], [0.5, 0.0, 0.2], SIZE, (True, False, False)),  # under it on the table
    ([0.5, 0.0, 0.0675], [0.5, 0.0, 0.0225], [0.5, 0.2, 0.0], 0.08, (False, False, True)),  # a stack far from the goal
    ([0.5, 0.0, 0.0675], [0.5, 0.0, 0.0225], [0.5, 0.2, 0.0], SIZE, (False, False, False)),  # which is still held
]


@pytest.mark.parametrize(("cube", "base", "goal", "width", "done"), STATES)
def test_success_is_that_of_the_instruction(cube, base, goal, width, done) -> None:
    assert mdp.is_success(in_state(cube, base, goal, width)).tolist() == list(done)


def test_distances_are_those_of_the_instruction() -> None:
    """The cube in the grasp, goal 20 cm aside and 15 cm higher, blue cube 10 cm aside and 2.75 cm lower."""
    env = in_state([0.5, 0.0, 0.2], [0.4, 0.0, 0.1725], [0.5, 0.2, 0.35])
    # along the table; straight; 10 cm aside and 6.75 cm below the funnel of 9.5 cm over the blue cube's centre
    assert torch.allclose(mdp.goal_distance(env), torch.tensor([0.2, 0.25, 0.1 + 0.0675]), atol=1e-6)
    # 5.5 cm behind the cube and 2 cm over the table to push it; at the cube to grasp it
    behind = (0.055**2 + 0.18**2) ** 0.5
    assert torch.allclose(mdp.approach_distance(env), torch.tensor([behind, 0.0, 0.0]), atol=1e-6)
    assert mdp.grasp_missing(env).tolist() == [0.0, 0.0, 0.0]
    assert mdp.release_missing(env).tolist() == [0.0, 0.0, 1.0]


def test_what_is_not_asked_for_pays_nothing() -> None:
    """A grasp pays where it is needed, letting go of a stack where it is asked for, and both are paid back."""
    held = in_state([0.5, 0.0, 0.2], [0.5, 0.0, 0.155], [0.5, 0.2, 0.0])
    away = in_state([0.5, 0.2, 0.2], [0.4, 0.0, 0.02], [0.5, 0.2, 0.0])
    terms = {}
    for distance in (mdp.grasp_missing, mdp.release_missing):
        cfg = RewardTermCfg(func=mdp.progress, weight=1.0, params={"distance": distance})
        terms[distance] = mdp.progress(cfg, away)
        terms[distance].reset(slice(None))
    assert terms[mdp.grasp_missing](held, mdp.grasp_missing).tolist() == [0.0, 1.0, 1.0]
    let_go = in_state([0.5, 0.0, 0.2], [0.5, 0.0, 0.155], [0.5, 0.2, 0.0], width=0.08)
    assert terms[mdp.release_missing](let_go, mdp.release_missing).tolist() == [0.0, 0.0, 1.0]
    assert terms[mdp.release_missing](away, mdp.release_missing).tolist() == [0.0, 0.0, -1.0]
    assert terms[mdp.grasp_missing](away, mdp.grasp_missing).tolist() == [0.0, -1.0, -1.0]


def test_distance_to_a_way() -> None:
    """Beside its middle, beyond its end, on it; and a way of no length is a point."""
    start, end = torch.tensor([[0.0, 0.0]] * 2), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    points = torch.tensor([[[0.5, 0.2], [1.3, 0.4], [0.25, 0.0]]] * 2)
    expected = torch.tensor([[0.2, 0.5, 0.0], [0.29**0.5, 1.85**0.5, 0.25]])
    assert torch.allclose(mdp.distance_to_way(points, start, end), expected, atol=1e-6)


@pytest.fixture
def starts() -> SimpleNamespace:
    """1,536 envs, a third for each task, after a reset of their layout."""
    torch.manual_seed(0)
    env = make_env([[0.0, 0.0, 0.0]] * 1536, [[0.0, 0.0, 0.0]] * 1536)
    mdp.instruction_index(env)[:] = torch.arange(3).repeat(512)[:, None]
    mdp.reset_layout(env, slice(None), **LAYOUT)
    return env


def places(env: SimpleNamespace) -> list[torch.Tensor]:
    """Red cube, blue cube and goal [3, n, 3] [m], by task."""
    found = (env.scene["cube"].pose[:, :3], env.scene["base_cube"].pose[:, :3], env._goal_position)
    return [torch.stack(found)[:, task::3] for task in range(3)]


def test_the_goals_height_follows_from_the_instruction(starts) -> None:
    push, pick_place, stack = (found[2, :, 2] for found in places(starts))
    assert (push == 0.0).all()
    assert 0.15 <= pick_place.min() < 0.16 and 0.29 < pick_place.max() < 0.3
    on_table = stack == 0.0
    assert stack[~on_table].min() >= 0.15 and stack.max() < 0.3
    assert abs(on_table.float().mean().item() - 0.5) < 0.07  # 512 throws of a coin, standard deviation 0.022


def test_places_do_not_tell_the_task(starts) -> None:
    """All in the same rectangle at the same distances; the blue cube off the way to push the red one."""
    for cube, base, goal in places(starts):
        for place in (cube, base, goal):
            assert (place[:, :2] >= torch.tensor([0.38, -0.22])).all()
            assert (place[:, :2] <= torch.tensor([0.6, 0.22])).all()
        assert torch.allclose(torch.cat((cube[:, 2], base[:, 2])), torch.tensor(SIZE / 2))
        for other in (base, goal):
            gap = (other - cube)[:, :2].norm(dim=-1)
            assert 0.1 <= gap.min() < 0.11 and 0.27 < gap.max() <= 0.3 + 1e-6
        ahead = torch.nn.functional.normalize((goal - cube)[:, :2], dim=-1)
        off = mdp.distance_to_way(base[:, None, :2], cube[:, :2] - 0.055 * ahead, goal[:, :2])[:, 0]
        assert off.min() > 0.079 and (off < 0.09).float().mean() > 0.02, "as near as it may be, and hardly ever nearer"


def test_a_curriculum_begins_with_near_and_low_goals(starts) -> None:
    starts._curriculum_level = torch.tensor(0.0)
    mdp.reset_layout(starts, slice(None), **LAYOUT)
    for cube, base, goal in places(starts):
        gap, apart = ((other - cube)[:, :2].norm(dim=-1) for other in (goal, base))
        assert gap.min() > 0.069 and gap.max() < 0.121
        assert apart.min() > 0.09 and apart.max() < 0.21
        height = goal[:, 2]
        assert ((height == 0.0) | ((height - 0.15).abs() < 1e-6)).all()


def test_the_instruction_is_drawn_before_the_layout() -> None:
    cfg, _ = resolve_task_config(TASK, None, overrides=[])
    cfg.validate_config()
    terms = [name for name, term in vars(cfg.events).items() if term is not None]
    assert terms.index("reset_instruction") < terms.index("reset_layout")
    assert cfg.instruction_names() == list(mdp.TASKS) and len(cfg.instructions) == 3


def test_gr00t_reads_all_of_the_state_but_the_tasks_number() -> None:
    assert max(key.end for key in STATE.state.values()) == 44 - len(mdp.TASKS)


@pytest.mark.sim
def test_in_the_simulator() -> None:
    run_check("cubes")
