# SPDX-License-Identifier: BSD-3-Clause
"""Observation, reward, termination and reset terms on states made by hand, without a simulator."""

from types import SimpleNamespace

import pytest
import torch
from isaaclab.managers import ObservationTermCfg, RewardTermCfg, TerminationTermCfg

from gr00t_rl.tasks.push import mdp as push
from gr00t_rl.tasks.reach import mdp as reach
from gr00t_rl.tasks.tabletop import mdp
from gr00t_rl.tasks.tabletop.actions import limited_target, speed_bound_lead
from gr00t_rl.tasks.tabletop.robot import down_quat, down_yaw, tcp_jacobian, tcp_pose

N = 3
DOWN = torch.tensor([1.0, 0.0, 0.0, 0.0])  # (x, y, z, w): half a turn about x
ORIGINS = torch.tensor([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 5.0, 0.0]])


def proxy(value: torch.Tensor) -> SimpleNamespace:
    return SimpleNamespace(torch=value)


class Scene(dict):
    env_origins = ORIGINS
    rigid_objects: dict = {}


def make_env(tcp: torch.Tensor, cube: torch.Tensor | None = None) -> SimpleNamespace:
    """An env whose TCPs [N, 3] and cubes [N, 3] are where we say, in the env frame, the hands pointing down."""
    hand = tcp + torch.tensor([0.0, 0.0, 0.1034])
    robot = SimpleNamespace(
        root_pos_w=proxy(ORIGINS),
        body_link_pos_w=proxy((hand + ORIGINS)[:, None]),
        body_link_quat_w=proxy(DOWN.expand(N, 1, 4)),
        joint_pos=proxy(torch.tensor([[0.1] * 7 + [0.03, 0.03]] * N)),
        joint_vel=proxy(torch.ones(N, 9)),
        default_joint_pos=proxy(torch.zeros(N, 9)),
    )
    scene = Scene(robot=SimpleNamespace(data=robot))
    if cube is not None:
        scene["cube"] = SimpleNamespace(
            data=SimpleNamespace(
                root_pos_w=proxy(cube + ORIGINS),
                root_quat_w=proxy(torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(N, 4)),
                root_lin_vel_w=proxy(torch.zeros(N, 3)),
                root_ang_vel_w=proxy(torch.zeros(N, 3)),
            )
        )
    index = SimpleNamespace(arm=torch.arange(7), fingers=torch.tensor([7, 8]), hand=0)
    return SimpleNamespace(
        num_envs=N,
        device="cpu",
        cfg=SimpleNamespace(),
        scene=scene,
        step_dt=0.05,
        max_episode_length=60,
        episode_length_buf=torch.tensor([0, 30, 60]),
        reset_buf=torch.zeros(N, dtype=torch.bool),
        extras={"log": {}},
        termination_manager=SimpleNamespace(terminated=torch.zeros(N, dtype=torch.bool)),
        _arm_index=index,
        _goal_position=torch.zeros(N, 3),
    )


def test_down_yaw_inverts_down_quat() -> None:
    yaw = torch.linspace(-3.0, 3.0, 13)
    assert torch.allclose(down_yaw(down_quat(yaw)), yaw, atol=1e-5)


def test_jacobian_of_one_link_by_hand() -> None:
    """A TCP 1 m along x from a joint that turns about z moves along y."""
    env = make_env(torch.zeros(N, 3))
    env._arm_index.links = torch.tensor([0])
    env.scene["robot"].data.body_link_pos_w = proxy(ORIGINS[:, None].clone())
    env.scene["robot"].data.body_link_quat_w = proxy(torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(N, 1, 4))
    jacobian = tcp_jacobian(env, torch.tensor([1.0, 0.0, 0.0]).expand(N, 3))
    assert torch.allclose(jacobian[..., 0], torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0, 1.0]).expand(N, 6))


def test_observations_are_scaled() -> None:
    env = make_env(torch.tensor([[0.5, 0.0, 0.25], [0.75, 0.4, 0.5], [0.25, -0.4, 0.0]]))
    state = mdp.tcp_state(env)
    assert torch.allclose(state[:, :3], torch.tensor([[0.0] * 3, [1.0] * 3, [-1.0] * 3]), atol=1e-5)
    assert torch.allclose(state[:, 3:5], torch.tensor([1.0, 0.0]).expand(N, 2), atol=1e-5)
    assert torch.allclose(state[:, 5], torch.tensor(0.5))  # 6 cm of 8
    assert mdp.joint_positions(env).shape == (N, 9)
    assert torch.allclose(mdp.joint_positions(env)[:, 7:], torch.tensor(0.5))
    assert torch.allclose(mdp.remaining_time(env)[:, 0], torch.tensor([1.0, 0.5, 0.0]))


def test_positions_do_not_depend_on_where_the_env_stands() -> None:
    same = torch.tensor([[0.4, 0.1, 0.3]] * N)
    assert torch.allclose(tcp_pose(make_env(same))[0], same, atol=1e-6)


def test_reach_success_is_three_centimetres() -> None:
    env = make_env(torch.tensor([[0.5, 0.0, 0.3], [0.5, 0.0, 0.3], [0.5, 0.0, 0.3]]))
    env._goal_position = torch.tensor([[0.5, 0.029, 0.3], [0.5, 0.0, 0.331], [0.5, 0.0, 0.3]])
    assert reach.is_success(env).tolist() == [True, False, True]


def test_push_success_needs_a_cube_at_rest() -> None:
    cube = torch.tensor([[0.5, 0.0, 0.0225]] * N)
    env = make_env(torch.zeros(N, 3), cube)
    # The goal lies on the table, the cube's centre above it: height does not count.
    env._goal_position = torch.tensor([[0.5, 0.045, 0.0], [0.5, 0.055, 0.0], [0.5, 0.0, 0.0]])
    env.scene["cube"].data.root_lin_vel_w.torch[2, 0] = 0.06
    assert push.is_success(env).tolist() == [True, False, False]


def test_cube_lost_over_an_edge_or_below_the_table() -> None:
    env = make_env(torch.zeros(N, 3), torch.tensor([[0.5, 0.0, 0.02], [0.5, 0.43, 0.02], [0.5, 0.0, -0.1]]))
    lost = mdp.object_lost(env, "cube", lower=(0.22, -0.42), upper=(0.78, 0.42), min_height=-0.02)
    assert lost.tolist() == [False, True, True]


def test_approach_aims_behind_the_cube() -> None:
    """Goal ahead in x: the place to push from is 5.5 cm behind in x; it slides to the centre near the goal."""
    cube = torch.tensor([[0.5, 0.0, 0.0225]] * N)
    env = make_env(torch.tensor([[0.445, 0.0, 0.02]] * N), cube)
    env._goal_position = torch.tensor([[0.7, 0.0, 0.0], [0.5, 0.0, 0.0], [0.525, 0.0, 0.0]])
    assert torch.allclose(push.approach_distance(env), torch.tensor([0.0, 0.055, 0.0275]), atol=1e-5)


def test_progress_telescopes() -> None:
    distances = iter(torch.tensor([[0.3, 0.3, 0.3], [0.25, 0.3, 0.4], [0.1, 0.3, 0.2]]))
    env = make_env(torch.zeros(N, 3))
    term = mdp.progress(
        RewardTermCfg(func=mdp.progress, weight=1.0, params={"distance": lambda _: next(distances)}), env
    )
    term.reset(slice(None))
    total = sum(term(env, **term.cfg.params) for _ in range(2))
    assert torch.allclose(total, torch.tensor([0.2, 0.0, 0.1]), atol=1e-6)


@pytest.fixture
def success():
    """A success term that holds for 0.15 s = 3 steps, and the outcome of its test, to be changed."""
    env = make_env(torch.zeros(N, 3))
    now = torch.zeros(N, dtype=torch.bool)
    cfg = TerminationTermCfg(func=mdp.held_success, params={"test": lambda _: now, "hold_s": 0.15})
    term = mdp.held_success(cfg, env)
    return env, now, lambda: term(env, **cfg.params).tolist(), term


def test_success_must_hold_without_a_break(success) -> None:
    env, now, step, _ = success
    now[:2] = True
    assert step() == step() == [False, False, False]
    now[1] = False
    assert step() == [True, False, False]
    now[1] = True
    assert step() == [True, False, False]
    assert env.extras["success"].tolist() == [True, False, False]


def test_joint_limit_penalty_sets_in_at_the_margin() -> None:
    lower, upper = torch.full((4, 2), -1.0), torch.full((4, 2), 2.0)
    # in the middle; at the margin's edge; half way in, once; at one limit and beyond the other by half a margin
    position = torch.tensor([[0.0, 0.5], [-0.8, 1.8], [-0.9, 0.0], [2.0, -1.1]])
    penalty = mdp.limit_proximity(position, lower, upper, margin=0.2)
    assert torch.allclose(penalty, torch.tensor([0.0, 0.0, 0.25, 1.0 + 1.5**2]), atol=1e-5)


def test_joint_limits_are_those_of_the_arm() -> None:
    env = make_env(torch.zeros(N, 3))  # all arm joints at 0.1, the fingers at 0.03
    limits = torch.tensor([[-1.0, 1.0]] * 6 + [[-1.0, 0.15]] + [[0.0, 0.04]] * 2)
    env.scene["robot"].data.soft_joint_pos_limits = proxy(limits.expand(N, 9, 2))
    assert torch.allclose(mdp.joint_limits(env, margin=0.1), torch.full((N,), 0.25), atol=1e-5)


def test_targets_keep_to_the_speed_and_the_limits_of_the_joints() -> None:
    """A joint that trails its target by the lead and moves at the limit feels no pull: k * lead - d * speed = 0."""
    speed, stiffness, damping = torch.tensor([2.175, 2.61]), torch.tensor([600.0, 400.0]), torch.tensor([60.0, 80.0])
    lead = speed_bound_lead(speed, stiffness, damping)
    assert torch.allclose(lead, torch.tensor([0.2175, 0.522]))
    assert torch.allclose(stiffness * lead - damping * speed, torch.zeros(2), atol=1e-4)
    joints = torch.tensor([[0.0, 0.0], [0.9, -0.9]])
    step = torch.tensor([[0.1, -0.8], [0.3, -0.3]])
    target = limited_target(joints, step, lead, -torch.ones(2), torch.ones(2))
    assert torch.allclose(target, torch.tensor([[0.1, -0.522], [1.0, -1.0]]))


@pytest.mark.parametrize(
    ("due", "ended", "length", "renders"),
    [
        (None, [0, 0], [3, 4], True),  # nobody keeps a schedule: always
        ([0, 0], [0, 0], [3, 4], False),
        ([0, 1], [0, 0], [3, 4], True),
        ([0, 0], [0, 1], [3, 0], True),  # env 1 has just been reset
        ([0, 0], [0, 1], [3, 9], False),  # env 1 is about to be: the terminal observation
        ([1, 0], [0, 1], [3, 9], False),
    ],
)
def test_when_a_picture_is_taken(due, ended, length, renders) -> None:
    picture = torch.full((2, 4, 4, 4), 7, dtype=torch.uint8)
    camera = SimpleNamespace(
        cfg=SimpleNamespace(height=4, width=4), data=SimpleNamespace(output={"rgb": proxy(picture)})
    )
    env = SimpleNamespace(
        num_envs=2,
        device="cpu",
        scene={"front": camera},
        reset_buf=torch.tensor(ended, dtype=torch.bool),
        episode_length_buf=torch.tensor(length),
    )
    if due is not None:
        env.decision_due = torch.tensor(due, dtype=torch.bool)
    term = mdp.decision_image(ObservationTermCfg(func=mdp.decision_image, params={"camera": "front"}), env)
    image = term(env, camera="front")
    assert image.shape == (2, 4, 4, 3) and image.dtype == torch.uint8
    assert bool(image.any()) == renders
