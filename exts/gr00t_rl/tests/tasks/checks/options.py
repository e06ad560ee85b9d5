# SPDX-License-Identifier: BSD-3-Clause
"""What is off by default, on Push: sparse rewards, sampled instructions, the curriculum; and endings."""

import torch
from simulated import simulated

from gr00t_rl.tasks.tabletop import mdp
from gr00t_rl.tasks.tabletop.experts import PushExpert
from gr00t_rl.tasks.tabletop.mdp.terminations import FAILURE_RATE_TAG, SUCCESS_RATE_TAG, TIME_OUT_RATE_TAG

NUM_ENVS = 32


def goal_gaps(env) -> torch.Tensor:
    """Distances from cube to goal along the table [N] [m]."""
    return (mdp.goal_position(env) - mdp.object_position(env, "cube"))[:, :2].norm(dim=-1)


def check_instructions(env) -> None:
    """The group says which instruction was drawn, and every episode draws anew."""
    seen = torch.cat([env.reset()[0]["instruction"] for _ in range(3)], dim=1)
    assert seen.dtype == torch.int64 and seen.shape == (NUM_ENVS, 3)
    assert set(seen.flatten().tolist()) == set(range(len(env.cfg.instructions)))
    assert (seen[:, 0] != seen[:, 1]).any()


def check_curriculum_and_sparse_reward(env) -> None:
    """Starts are easy; the expert's successes move them away; only success pays."""
    env.reset()
    assert goal_gaps(env).min() > 0.069 and goal_gaps(env).max() < 0.121
    expert, levels, started = PushExpert(env), [], 0.0
    # an episode is counted when its time would have been up, and the next ones start by the new level
    for _ in range(env.max_episode_length + 120):
        _, reward, terminated, timed_out, extras = env.step(expert())
        done = terminated | timed_out
        assert torch.allclose(reward, extras["success"].float(), atol=1e-6)
        expert.reset(done)
        if done.any():
            levels.append(extras["log"]["Curriculum/difficulty"].item())
            started = max(started, goal_gaps(env)[done].max().item())
    assert levels[0] == 0.0 and levels[-1] >= 0.5 and levels == sorted(levels), levels
    assert started > 0.13, "farther than any easy start"


def check_endings(env) -> None:
    """A cube that leaves the table is a failure, not a time-out; when its time would have been up, it is counted."""
    ids = torch.arange(NUM_ENVS, dtype=torch.int32)
    beyond = torch.tensor([0.5, 0.6, 0.1]).expand(NUM_ENVS, 3)
    mdp.place_at_rest(env, "cube", ids, beyond, torch.zeros(NUM_ENVS))
    _, _, terminated, timed_out, extras = env.step(torch.zeros(NUM_ENVS, 5))
    assert terminated.all() and not timed_out.any() and not extras["success"].any()
    for _ in range(env.max_episode_length):
        extras = env.step(torch.zeros(NUM_ENVS, 5))[-1]
    log = extras["log"]
    assert log[FAILURE_RATE_TAG] > 0.1
    shares = log[SUCCESS_RATE_TAG] + log[FAILURE_RATE_TAG] + log[TIME_OUT_RATE_TAG]
    assert abs(shares.item() - 1.0) < 1e-5


with simulated(
    "Gr00t-Push-Cube-Franka",
    NUM_ENVS,
    "env.rewards=sparse",
    "env.sample_instructions=true",
    "env.curriculum=on",
    "env.curriculum.difficulty.params.episodes=32",
    "env.curriculum.difficulty.params.step=0.5",
) as env:
    check_instructions(env)
    check_curriculum_and_sparse_reward(env)
    check_endings(env)
