# SPDX-License-Identifier: BSD-3-Clause
"""Cubes from the cameras: what is observed, starts that groups share, and the expert at all three instructions."""

import torch
from simulated import simulated

from gr00t_rl.tasks.experts import make_expert
from gr00t_rl.tasks.tabletop import mdp
from gr00t_rl.tasks.tabletop.mdp.terminations import SUCCESS_RATE_TAG

TASK, NUM_ENVS, GROUP = "Gr00t-Tabletop-Cubes-Franka-Camera", 24, 2


def check_interface(env) -> None:
    obs = env.reset()[0]
    assert obs["policy"].shape == (NUM_ENVS, 19) and obs["critic"].shape == (NUM_ENVS, 66)
    assert obs["front"].shape == obs["wrist"].shape == (NUM_ENVS, 64, 64, 3)
    given = obs["instruction"]
    assert given.dtype == torch.int64 and given.flatten().bincount().tolist() == [8, 8, 8]
    assert torch.equal(obs["critic"][:, 41:44].argmax(-1), given[:, 0])
    # the marker is where the goal is, and only Push's is sure to be on the table
    marker = env.scene["goal_marker"].data.root_pos_w.torch - env.scene.env_origins
    assert torch.allclose(marker, mdp.goal_position(env), atol=1e-5)
    height, task = marker[:, 2], given[:, 0]
    assert (height[task == 0].abs() < 1e-5).all() and (height[task == 1] > 0.149).all()


def check_shared_starts(env) -> None:
    obs = env.reset()[0]
    for name in ("instruction", "policy", "critic"):
        first, second = obs[name].unflatten(0, (-1, GROUP)).unbind(1)
        assert torch.equal(first, second), name


def check_expert(env) -> None:
    """Nearly all first episodes succeed, and once their time is up the rates of each instruction say so."""
    expert, names = make_expert(TASK, env), env.cfg.instruction_names()
    env.decision_due = torch.zeros(NUM_ENVS, dtype=torch.bool)
    given = mdp.instruction_index(env)[:, 0].clone()
    first, returns, log = torch.full((NUM_ENVS,), -1), torch.zeros(NUM_ENVS), {}
    for _ in range(env.max_episode_length):
        _, reward, terminated, timed_out, extras = env.step(expert())
        done = terminated | timed_out
        expert.reset(done)
        returns += torch.where(first < 0, reward, 0.0)
        ends = done & (first < 0)
        assert torch.equal(extras["instruction"][ends], given[ends]), "of the episode that ended, not of the next"
        first = torch.where(ends, extras["success"].long(), first)
        if (first >= 0).all():
            break
    for _ in range(2 * env.max_episode_length):
        log |= env.step(expert())[-1]["log"]
        if SUCCESS_RATE_TAG in log and log[SUCCESS_RATE_TAG] > 0:
            break
    assert (first == 1).sum() >= NUM_ENVS - 1, (first, given)
    assert returns[first == 1].min() > 1.1, returns
    rates = [log[f"{SUCCESS_RATE_TAG}/{name}"].item() for name in names]
    assert min(rates) > 0.8 and log[SUCCESS_RATE_TAG] > 0.9, rates


with simulated(TASK, NUM_ENVS, f"env.start_group_size={GROUP}") as env:
    check_interface(env)
    check_shared_starts(env)
    check_expert(env)
