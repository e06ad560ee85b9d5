# SPDX-License-Identifier: BSD-3-Clause
"""Push from the camera: pictures, when they are taken, and the scripted push."""

import torch
from simulated import simulated

from gr00t_rl.tasks.tabletop.experts import PushExpert
from gr00t_rl.tasks.tabletop.mdp import goal_position, set_goal

NUM_ENVS = 64


def green_column(pictures: torch.Tensor) -> torch.Tensor:
    """Mean column of the green pixels of each picture [N]."""
    red, green, blue = pictures.float().unbind(-1)
    mask = (green > 1.5 * red) & (green > 1.5 * blue)
    columns = torch.arange(pictures.shape[2]).float()
    return (mask * columns).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.corrcoef(torch.stack((a, b)))[0, 1].item()


def check_pictures(obs) -> None:
    assert obs["policy"].shape == (NUM_ENVS, 19) and obs["critic"].shape == (NUM_ENVS, 49)
    front = obs["front"]
    assert obs["wrist"].shape == front.shape
    assert front.dtype == torch.uint8 and front.shape == (NUM_ENVS, 64, 64, 3)
    assert front.float().std(dim=(1, 2, 3)).min() > 5.0, "a camera aimed wrong sees a flat background"
    assert (front[1:] != front[:1]).flatten(1).any(1).all(), "every env has a layout of its own"


def check_goal_is_seen_where_it_is(env) -> None:
    """Right after a reset, and right after an episode ended inside a step, the picture shows the new goals."""
    obs, _ = env.reset()
    assert abs(correlation(green_column(obs["front"]), goal_position(env)[:, 1])) > 0.98
    old = goal_position(env).clone()
    env.episode_length_buf[:] = env.max_episode_length - 1
    obs, *_ = env.step(torch.zeros(NUM_ENVS, 5))
    assert (old != goal_position(env)).any()
    assert abs(correlation(green_column(obs["front"]), goal_position(env)[:, 1])) > 0.98


def check_marker_moves_nothing_else(env) -> None:
    """Only the picture, not the physics, sees the marker: it does not fall, and no cube is thrown by it."""
    env.reset()
    cube = env.scene["cube"].data.root_pos_w.torch.clone()
    # Inside the cubes, where a collider would do most harm. Too short for the goal to count as held.
    set_goal(env, torch.arange(NUM_ENVS, dtype=torch.int32), cube - env.scene.env_origins)
    for _ in range(5):
        env.step(torch.zeros(NUM_ENVS, 5))
    marker = env.scene["goal_marker"].data.root_pos_w.torch
    assert (marker - cube).norm(dim=-1).max() < 1e-4
    assert (env.scene["cube"].data.root_pos_w.torch - cube).norm(dim=-1).max() < 1e-3


def check_lazy_rendering(env) -> None:
    """Both cameras render where somebody looks, once each, and neither where nobody does."""
    env.reset()
    renderer = env.scene["front"]._renderer
    assert env.scene["wrist"]._renderer is renderer, "equal cfgs share one"
    renders, render = [], renderer.render
    renderer.render = lambda data: (renders.append(1), render(data))[1]
    still = torch.zeros(NUM_ENVS, 5)

    def step() -> tuple[int, dict]:
        renders.clear()
        obs, _, _, _, extras = env.step(still)
        return len(renders), {**obs, "final": extras.get("final_obs")}

    assert step()[0] == 2, "without a word from the algorithm every step renders"
    env.decision_due = torch.zeros(NUM_ENVS, dtype=torch.bool)
    count, first = step()
    assert count == 0
    count, second = step()
    assert count == 0 and all(torch.equal(first[camera], second[camera]) for camera in ("front", "wrist"))
    env.decision_due[3] = True
    count, due = step()
    assert count == 2
    env.decision_due[:] = False
    env.episode_length_buf[5] = env.max_episode_length - 1
    count, ended = step()
    assert count == 2, "the new episode is looked at once, the old one's end not at all"
    assert torch.equal(ended["final"]["front"], due["front"])
    env.new_episodes_decide = False
    env.episode_length_buf[6] = env.max_episode_length - 1
    assert step()[0] == 0, "where all envs decide together, a new episode waits for its picture"
    del env.decision_due, env.new_episodes_decide
    renderer.render = render


def check_expert(env) -> None:
    env.reset()
    env.decision_due = torch.zeros(NUM_ENVS, dtype=torch.bool)
    expert = PushExpert(env)
    first = torch.full((NUM_ENVS,), -1)
    for _ in range(env.max_episode_length):
        _, _, terminated, timed_out, extras = env.step(expert())
        done = terminated | timed_out
        first = torch.where(done & (first < 0), extras["success"].long(), first)
        expert.reset(done)
        if (first >= 0).all():
            break
    rate = (first == 1).float().mean().item()
    assert rate >= 0.9, rate


with simulated("Gr00t-Push-Cube-Franka-Camera", NUM_ENVS) as env:
    assert env.cfg.instruction == "push the red cube to the green target"
    check_pictures(env.reset()[0])
    check_goal_is_seen_where_it_is(env)
    check_marker_moves_nothing_else(env)
    check_lazy_rendering(env)
    check_expert(env)
