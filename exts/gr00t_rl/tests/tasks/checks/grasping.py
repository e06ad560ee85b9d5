# SPDX-License-Identifier: BSD-3-Clause
"""A grasping task from the cameras: what the wrist sees, and a grasp that holds. Arguments: the task, the physics."""

import sys

import torch
from isaaclab.utils.math import quat_apply_inverse
from simulated import simulated

from gr00t_rl.tasks.experts import make_expert
from gr00t_rl.tasks.tabletop.mdp import is_grasped, object_position
from gr00t_rl.tasks.tabletop.robot import tcp_pose, tcp_position

NUM_ENVS = 16
CRITIC = {"Gr00t-Pick-Place-Cube-Franka-Camera": 49, "Gr00t-Stack-Cube-Franka-Camera": 57}
SLIP = 0.007
"""How far a cube may shift in the grasp while it is carried [m]."""


def red_share(pictures: torch.Tensor) -> torch.Tensor:
    """Share of the pixels of each picture that are red [N]."""
    red, green, blue = pictures.float().unbind(-1)
    return ((red > 1.8 * green) & (red > 1.8 * blue)).float().mean((1, 2))


def check_interface(obs, task: str) -> None:
    assert obs["policy"].shape == (NUM_ENVS, 19) and obs["critic"].shape == (NUM_ENVS, CRITIC[task])
    for camera in ("front", "wrist"):
        pictures = obs[camera]
        assert pictures.dtype == torch.uint8 and pictures.shape == (NUM_ENVS, 64, 64, 3)
        assert pictures.float().std(dim=(1, 2, 3)).min() > 5.0, "a camera aimed wrong sees a flat background"


def check_wrist_camera_rides_on_the_hand(env) -> None:
    """Its place relative to the TCP, seen from the hand, is that of the cfg wherever the hand goes."""
    env.reset()
    action = torch.rand(NUM_ENVS, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for _ in range(8):
        env.step(action)
    tcp, quat = tcp_pose(env)
    assert tcp.std(dim=0).min() > 0.02, "the hands are at different places"
    eye = env.scene["wrist"].data.pos_w.torch - env.scene.env_origins
    place = torch.tensor(env.cfg.scene.wrist.offset.pos) - torch.tensor([0.0, 0.0, 0.1034])
    assert (quat_apply_inverse(quat, eye - tcp) - place).abs().max() < 2e-3


def check_expert(env, task: str) -> None:
    """It succeeds nearly always; what it carries does not slip, and is large in the wrist camera's view."""
    obs, _ = env.reset()
    empty = red_share(obs["wrist"])
    env.decision_due = torch.zeros(NUM_ENVS, dtype=torch.bool)
    expert = make_expert(task, env)
    first = torch.full((NUM_ENVS,), -1)
    returns, grasp = torch.zeros(NUM_ENVS), torch.full((NUM_ENVS, 3), torch.nan)
    seen = torch.full((NUM_ENVS,), torch.nan)
    for _ in range(env.max_episode_length):
        carrying = (expert.phase == expert.CARRY) & (first < 0)
        offset = object_position(env, "cube") - tcp_position(env)
        grasp = torch.where(carrying[:, None] & grasp.isnan(), offset, grasp)
        assert ((offset - grasp).norm(dim=-1) < SLIP)[carrying].all(), (offset - grasp)[carrying]
        assert is_grasped(env, "cube")[carrying].all()
        env.decision_due[:] = carrying & seen.isnan()
        obs, reward, terminated, timed_out, extras = env.step(expert())
        done = terminated | timed_out
        returns += torch.where(first < 0, reward, 0.0)
        first = torch.where(done & (first < 0), extras["success"].long(), first)
        expert.reset(done)
        seen = torch.where(carrying & seen.isnan(), red_share(obs["wrist"]), seen)
        if (first >= 0).all():
            break
    assert (first == 1).sum() >= NUM_ENVS - 1, first
    assert returns[first == 1].min() > 1.4, "grasp, way and success are paid"
    # Nearly all: the goal's ball may float in front of the camera.
    assert (seen > empty + 0.05).float().mean() > 0.8, (empty, seen)


task, physics = sys.argv[1:]
with simulated(task, NUM_ENVS, f"physics={physics}") as env:
    check_interface(env.reset()[0], task)
    check_wrist_camera_rides_on_the_hand(env)
    check_expert(env, task)
