# SPDX-License-Identifier: BSD-3-Clause
"""Terms of the grasping tasks on states made by hand, without a simulator."""

import pytest
import torch
from hand_made_env import SIZE, make_env

from gr00t_rl.tasks.pick_place import mdp as pick_place
from gr00t_rl.tasks.stack import mdp as stack
from gr00t_rl.tasks.tabletop import mdp


def test_a_grasp_has_the_cube_between_snug_fingers() -> None:
    cubes = [[0.5, 0.0, 0.2], [0.5, 0.019, 0.2], [0.5, 0.021, 0.2]]
    assert mdp.is_grasped(make_env(cubes), "cube").tolist() == [True, True, False]
    for width in (SIZE - 0.006, SIZE + 0.006, 0.08, 0.0):
        assert not mdp.is_grasped(make_env(cubes, width=width), "cube").any()


def test_open_leaves_room_on_both_sides() -> None:
    cubes = [[0.5, 0.0, 0.2]]
    assert mdp.is_open(make_env(cubes, width=0.056)).all()
    assert not mdp.is_open(make_env(cubes, width=0.054)).any()


def test_distance_of_the_tcp() -> None:
    env = make_env([[0.53, 0.04, 0.2], [0.5, 0.0, 0.32]])
    assert torch.allclose(mdp.tcp_distance(env, "cube"), torch.tensor([0.05, 0.12]), atol=1e-6)


def test_pick_place_counts_height() -> None:
    """A cube below the goal, as a pushed one would be, is not there."""
    env = make_env([[0.5, 0.0, 0.0225], [0.5, 0.0, 0.151], [0.5, 0.03, 0.24]])
    env._goal_position = torch.tensor([[0.5, 0.0, 0.2]] * 3)
    assert torch.allclose(pick_place.goal_distance(env), torch.tensor([0.1775, 0.049, 0.05]), atol=1e-6)
    assert pick_place.is_success(env).tolist()[:2] == [False, True]


def test_pick_place_stages() -> None:
    """Before the grasp the way to the cube is what is left, after it the way to the goal less a tenth of the height."""
    env = make_env([[0.5, 0.0, 0.2], [0.5, 0.0, 0.1]])
    env._goal_position = torch.tensor([[0.5, 0.0, 0.3]] * 2)
    assert torch.allclose(pick_place.stage_distance(env), torch.tensor([0.1 - 0.02, 0.1]), atol=1e-6)
    assert pick_place.grasp_missing(env).tolist() == [0.0, 1.0]


def test_pick_place_starts() -> None:
    torch.manual_seed(0)
    env = make_env([[0.0, 0.0, 0.0]] * 64)
    box = {"lower": (0.38, -0.22, 0.15), "upper": (0.6, 0.22, 0.3), "max_yaw": 0.78, "easy_share": 0.2}
    pick_place.reset_layout(env, slice(None), **box)
    cube, goal = env.scene["cube"].pose[:, :3], mdp.goal_position(env)
    assert torch.allclose(cube[:, 2], torch.tensor(SIZE / 2))
    for points in (cube, goal):
        assert ((points[:, :2] >= torch.tensor([0.38, -0.22])) & (points[:, :2] <= torch.tensor([0.6, 0.22]))).all()
    assert goal[:, 2].min() >= 0.15 and goal[:, 2].max() <= 0.3
    # The lowest goal, less the success radius, is far above a cube on the table.
    assert goal[:, 2].min() - 0.05 > SIZE + 0.05

    env._curriculum_level = torch.tensor(0.0)
    torch.manual_seed(0)
    pick_place.reset_layout(env, slice(None), **box)
    over = torch.cat((cube[:, :2], torch.full((64, 1), 0.15)), -1)
    torch.manual_seed(0)
    env._curriculum_level.fill_(1.0)
    easy = mdp.goal_position(env).clone()
    pick_place.reset_layout(env, slice(None), **box)
    assert torch.allclose(easy - over, 0.2 * (mdp.goal_position(env) - over), atol=1e-6)


# height over the blue cube, sideways offset, width of the gripper [m] -> aligned, at height, done
STACKS = [
    (SIZE, 0.0, 0.08, True, True, True),
    (SIZE, 0.0, SIZE, True, True, False),  # still held
    (SIZE + 0.004, 0.019, 0.08, True, True, True),
    (SIZE + 0.006, 0.0, 0.08, True, False, False),  # in the air
    (SIZE, 0.021, 0.08, False, True, False),  # half an edge off
    (0.0, 0.06, 0.08, False, False, False),  # beside it
]


@pytest.mark.parametrize(("height", "sideways", "width", "aligned", "at_height", "done"), STACKS)
def test_stacked_and_let_go(height, sideways, width, aligned, at_height, done) -> None:
    env = make_env([[0.5, sideways, 0.0225 + height]], [[0.5, 0.0, 0.0225]], width)
    assert stack.is_aligned(env).item() is aligned
    assert stack.is_at_height(env).item() is at_height
    assert stack.is_stacked(env).item() is (aligned and at_height)
    assert stack.is_success(env).item() is done
    assert stack.release_missing(env).item() == 1.0 - done
    assert stack.grasp_missing(env).item() == 1.0 - (aligned and at_height)


@pytest.mark.parametrize("moving", ["cube", "base_cube"])
def test_a_stack_that_moves_does_not_count(moving: str) -> None:
    env = make_env([[0.5, 0.0, 0.0675]], [[0.5, 0.0, 0.0225]], 0.08)
    env.scene[moving].data.root_lin_vel_w.torch[0, 2] = -0.06
    assert not stack.is_success(env).item()


def test_the_way_onto_the_stack_leads_over_it() -> None:
    """Far away the right height is 5 cm over the stacked one; closer it falls with the distance; no way at the end."""
    base = [[0.5, 0.0, 0.0225]] * 4
    cubes = [[0.5, 0.2, 0.0225], [0.5, 0.2, 0.1175], [0.5, 0.03, 0.0975], [0.5, 0.0, 0.0675]]
    way = stack.stack_distance(make_env(cubes, base))
    assert torch.allclose(way, torch.tensor([0.2 + 0.095, 0.2, 0.03, 0.0]), atol=1e-6)


def test_points_apart() -> None:
    """Where no candidate fits, the one that misses least is taken: here the box is 10 cm wide."""
    torch.manual_seed(0)
    env = make_env([[0.0, 0.0, 0.0]] * 256)
    corner = torch.zeros(256, 2)
    points = mdp.start_apart(env, torch.arange(256), (0.0, 0.0), (0.1, 0.1), corner, (0.05, 0.08))
    gap = points.norm(dim=-1)
    assert gap.min() >= 0.05 and gap.max() <= 0.08 and points.std(dim=0).min() > 0.01
    points = mdp.start_apart(env, torch.arange(256), (0.0, 0.0), (0.1, 0.1), corner, (0.2, 0.3))
    assert points.norm(dim=-1).mean() > 0.11, "near the far corner, 14 cm away"


def test_vector_between_cubes() -> None:
    env = make_env([[0.5, 0.0, 0.1]], [[0.4, 0.25, 0.1]])
    vector = mdp.object_to_object(env, "cube", "base_cube")
    assert torch.allclose(vector, torch.tensor([[-0.4, 1.0, 0.0]]), atol=1e-6)


def test_stack_starts_leave_room_for_the_fingers() -> None:
    torch.manual_seed(0)
    env = make_env([[0.0, 0.0, 0.0]] * 512, [[0.0, 0.0, 0.0]] * 512)
    area = {"lower": (0.38, -0.22), "upper": (0.6, 0.22), "max_yaw": 0.78}
    distances = {"distance": (0.1, 0.3), "easy_distance": (0.1, 0.2)}
    for level, farthest in ((None, 0.3), (0.0, 0.2), (0.5, 0.25)):
        if level is not None:
            env._curriculum_level = torch.tensor(level)
        stack.reset_layout(env, slice(None), **area, **distances)
        cube, base = (env.scene[name].pose for name in ("cube", "base_cube"))
        gap = (cube[:, :2] - base[:, :2]).norm(dim=-1)
        assert gap.min() > 0.1 and farthest - 0.02 < gap.max() < farthest
        assert torch.allclose(torch.cat((cube[:, 2], base[:, 2])), torch.tensor(SIZE / 2))
        assert not torch.allclose(cube[:, 3:], base[:, 3:])  # turned on their own


def test_a_lost_cube() -> None:
    env = make_env([[0.5, 0.0, 0.02], [0.5, 0.43, 0.02], [0.21, 0.0, 0.02], [0.5, 0.0, -0.03]])
    lost = mdp.object_lost(env, "cube", lower=(0.22, -0.42), upper=(0.78, 0.42), min_height=-0.02)
    assert lost.tolist() == [False, True, True, True]
