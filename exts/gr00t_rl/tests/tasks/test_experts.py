# SPDX-License-Identifier: BSD-3-Clause
"""How the scripted experts turn a state into actions and phases, without a simulator."""

from types import SimpleNamespace

import gymnasium as gym
import pytest
import torch
from hand_made_env import make_env

import gr00t_rl.tasks  # noqa: F401
from gr00t_rl.tasks.experts import make_expert
from gr00t_rl.tasks.tabletop.experts import (
    CLOSE,
    OPEN,
    CubesExpert,
    Expert,
    PickPlaceExpert,
    PushExpert,
    ReachExpert,
    StackExpert,
)
from gr00t_rl.tasks.tabletop.mdp import set_goal
from gr00t_rl.utils.errors import ConfigurationError

STEP = 0.02


def with_servo(env: SimpleNamespace, position: list[float]) -> SimpleNamespace:
    """``env`` with a servo whose set-points are at ``position``."""
    servo = SimpleNamespace(
        set_position=torch.tensor([position] * env.num_envs),
        set_yaw=torch.zeros(env.num_envs),
        cfg=SimpleNamespace(position_step=STEP, yaw_step=0.12),
    )
    env.action_manager = SimpleNamespace(get_term=lambda name: servo)
    return env


@pytest.fixture
def env() -> SimpleNamespace:
    """Two envs with the TCP at (0.5, 0, 0.2), where the set-points are; the second cube is in the grasp."""
    env = with_servo(make_env([[0.5, 0.1, 0.0225], [0.5, 0.0, 0.2]], [[0.4, 0.0, 0.0225]] * 2), [0.5, 0.0, 0.2])
    env.cfg.instruction_names = lambda: ["push", "pick_place", "stack"]
    return env


@pytest.mark.parametrize("suffix", ["", "-Camera"])
def test_every_task_has_its_expert(env, suffix: str) -> None:
    experts = {"Reach": ReachExpert, "Push-Cube": PushExpert, "Pick-Place-Cube": PickPlaceExpert}
    experts |= {"Stack-Cube": StackExpert, "Tabletop-Cubes": CubesExpert}
    for task, expert in experts.items():
        assert type(make_expert(f"Gr00t-{task}-Franka{suffix}", env)) is expert


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({}, 'has no scripted expert; write a ScriptedExpert .* "expert_entry_point": "my_robot.expert:MyExpert"'),
        ({"expert_entry_point": "nosuch.module:Expert"}, "its expert_entry_point 'nosuch.module:Expert' does not load"),
        ({"expert_entry_point": "math:Expert"}, "'math:Expert' does not load .* set 'module:Class' in gym.register"),
    ],
)
def test_a_task_without_an_expert_is_told_how_to_get_one(env, kwargs: dict, message: str) -> None:
    gym.register(id="Bare-Task", entry_point="nowhere:Env", kwargs=kwargs)
    try:
        with pytest.raises(ConfigurationError, match=message):
            make_expert("Bare-Task", env)
    finally:
        del gym.registry["Bare-Task"]


def test_action_is_scaled_as_a_vector(env) -> None:
    """8 cm by 6 cm are five steps away: one step in that direction. A target within one step is reached in it."""
    move = torch.tensor([[0.08, 0.06, 0.0], [0.01, 0.0, -0.005]])
    action = Expert(env)._action(move, torch.tensor([0.06, -1.0]), torch.tensor([OPEN, CLOSE]))
    expected = torch.tensor([[0.8, 0.6, 0.0, 0.5, 1.0], [0.5, 0.0, -0.25, -1.0, -1.0]])
    assert torch.allclose(action, expected, atol=1e-5)
    slow = Expert(env)._action(move, torch.zeros(2), OPEN, speed=torch.tensor([0.5, 1.0]))
    assert torch.allclose(slow[:, :3].norm(dim=-1), torch.tensor([0.5, 0.01118 / STEP]), atol=1e-4)


def test_noise_moves_the_arm_and_not_the_gripper(env) -> None:
    torch.manual_seed(0)
    noisy = torch.stack([Expert(env, noise=0.2)._action(torch.zeros(2, 3), torch.zeros(2), OPEN) for _ in range(500)])
    assert noisy[..., :4].std().item() == pytest.approx(0.2, rel=0.05)
    assert (noisy[..., 4] == OPEN).all()


def test_grasping_begins_over_the_cube_with_open_fingers(env) -> None:
    action = StackExpert(env)()
    towards = torch.tensor([0.0, 0.1, StackExpert.HOVER_HEIGHT - 0.2])
    assert torch.allclose(action[0, :3], towards / towards.norm(), atol=1e-5)
    assert (action[:, 4] == OPEN).all()


def test_closing_takes_its_time_and_stays_in_place(env) -> None:
    expert = StackExpert(env)
    expert.phase[:] = StackExpert.GRIP
    for _ in range(StackExpert.PHASES[StackExpert.GRIP].limit):
        assert (expert.phase == StackExpert.GRIP).all()
        assert torch.allclose(expert(), torch.tensor([[0.0, 0.0, 0.0, 0.0, CLOSE]] * 2), atol=1e-6)
    assert (expert.phase == StackExpert.LIFT).all() and (expert.clock == 0).all()


def test_a_lost_cube_is_grasped_again(env) -> None:
    """The first cube lies on the table while the arm believes to carry it; the second is in the grasp."""
    expert = StackExpert(env)
    expert.phase[:] = StackExpert.CARRY
    expert()
    assert expert.phase.tolist() == [StackExpert.HOVER, StackExpert.CARRY]


def test_a_released_cube_is_not_lost(env) -> None:
    expert = StackExpert(env)
    expert.phase[:] = StackExpert.RETREAT
    expert.clock[:] = 3
    expert()
    assert (expert.phase == StackExpert.RETREAT).all() and (expert.clock == 4).all()
    expert.clock[:] = StackExpert.PHASES[StackExpert.RETREAT].limit - 1
    expert()
    assert (expert.phase == StackExpert.HOVER).all(), "who is still there has failed and tries again"


def test_the_cube_and_not_the_tcp_goes_to_its_place() -> None:
    """A cube that hangs 1 cm beside the TCP is carried 1 cm beside the place; a stack is entered from above."""
    env = with_servo(make_env([[0.51, 0.0, 0.2]], [[0.4, 0.0, 0.0225]]), [0.5, 0.0, 0.2])
    set_goal(env, torch.tensor([0], dtype=torch.int32), torch.tensor([[0.6, 0.1, 0.3]]))
    tcp, cube = torch.tensor([[0.5, 0.0, 0.2]]), torch.tensor([[0.51, 0.0, 0.2]])
    (carry, _), *rest = PickPlaceExpert(env)._after_lift(tcp, cube)
    assert torch.allclose(carry, torch.tensor([[0.59, 0.1, 0.3]]), atol=1e-6) and not rest
    carry, lower, release, retreat = (target for target, _ in StackExpert(env)._after_lift(tcp, cube))
    assert torch.allclose(carry, torch.tensor([[0.39, 0.0, StackExpert.LIFT_HEIGHT]]), atol=1e-6)
    assert torch.allclose(lower, torch.tensor([[0.39, 0.0, 0.0225 + 0.045 + StackExpert.GAP]]), atol=1e-6)
    assert torch.allclose(release, tcp) and torch.allclose(retreat[:, :2], tcp[:, :2])


def test_every_env_has_the_expert_of_its_instruction(env) -> None:
    """Push closes the gripper and hovers behind the cube; Stack hovers over it with the gripper open."""
    env._instruction_index = torch.tensor([[0], [2]])
    action, alone = CubesExpert(env)(), torch.stack((PushExpert(env)(), StackExpert(env)()))
    assert torch.equal(action, torch.stack((alone[0, 0], alone[1, 1])))
    assert action[:, 4].tolist() == [CLOSE, OPEN]


def test_all_of_its_experts_start_over(env) -> None:
    expert = CubesExpert(env)
    for part in expert.experts:
        part.phase[:], part.clock[:] = 1, 7
    expert.reset(torch.tensor([True, False]))
    assert [part.phase.tolist() for part in expert.experts] == [[0, 1]] * 3
    assert [part.clock.tolist() for part in expert.experts] == [[0, 7]] * 3


def test_reset_starts_over_where_an_episode_ended(env) -> None:
    expert = PushExpert(env)
    expert.phase[:], expert.clock[:] = PushExpert.PUSH, 7
    expert.reset(torch.tensor([True, False]))
    assert expert.phase.tolist() == [0, PushExpert.PUSH] and expert.clock.tolist() == [0, 7]
