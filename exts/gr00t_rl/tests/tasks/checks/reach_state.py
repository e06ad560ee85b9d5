# SPDX-License-Identifier: BSD-3-Clause
"""Reach from state: interface, scripted success, and the success rate it reports."""

import torch
from simulated import simulated

from gr00t_rl.tasks.tabletop.experts import ReachExpert
from gr00t_rl.tasks.tabletop.mdp.terminations import SUCCESS_RATE_TAG

NUM_ENVS = 64


def check_interface(env, obs) -> None:
    assert env.cfg.instruction == "reach the green ball"
    assert env.cfg.compute_final_obs and not env.cfg.is_finite_horizon
    assert env.max_episode_length == 60
    assert env.action_manager.total_action_dim == 5
    assert {name: tuple(value.shape) for name, value in obs.items()} == {"policy": (64, 25), "critic": (64, 35)}
    for value in obs.values():
        assert value.dtype == torch.float32 and value.isfinite().all()


def check_expert_and_its_score(env) -> None:
    """The scripted servo reaches nearly every goal, and the env counts as we do."""
    expert = ReachExpert(env)
    ended: list[tuple[int, int, bool]] = []  # when it began, where, whether it succeeded
    returns = torch.zeros(NUM_ENVS)
    won, lost, begun = [], [], torch.zeros(NUM_ENVS, dtype=torch.long)
    for step in range(100):
        # Half way, half of the envs stand still, so that there are failures to count.
        actions = expert()
        if step >= 40:
            actions[NUM_ENVS // 2 :, :4] = 0.0
        obs, reward, terminated, timed_out, extras = env.step(actions)
        assert obs["policy"].abs().max() < 4.0 and obs["policy"].isfinite().all()
        returns += reward
        done, success = terminated | timed_out, extras["success"]
        assert torch.equal(terminated, success)
        ended += zip(begun[done].tolist(), done.nonzero()[:, 0].tolist(), success[done].tolist(), strict=True)
        won += returns[done & success].tolist()
        lost += returns[done & ~success].tolist()
        begun[done] = step + 1
        if done.any():
            assert set(extras["final_obs"]) == {"policy", "critic"}
            # The env's history holds 256 episodes here: of those whose time was up before this step.
            due = [outcome for start, _, outcome in sorted(ended) if start < step + 1 - env.max_episode_length][-256:]
            assert (SUCCESS_RATE_TAG in extras["log"]) == (step >= env.max_episode_length)
            if due:
                assert abs(extras["log"][SUCCESS_RATE_TAG].item() - sum(due) / len(due)) < 1e-5
        if step == 39:
            assert len(ended) >= NUM_ENVS and sum(outcome for *_, outcome in ended) / len(ended) >= 0.95, ended
        returns[done] = 0.0
        expert.reset(done)
    assert lost, "standing still should have failed"
    assert min(won) > max(lost), "success must pay better than waiting"


def check_reset_is_no_episode(env) -> None:
    env.reset()  # counts those whose time is up
    before = env.extras["log"][SUCCESS_RATE_TAG].item()
    env.step(torch.zeros(NUM_ENVS, 5))
    env.reset()
    assert env.extras["log"][SUCCESS_RATE_TAG].item() == before


with simulated("Gr00t-Reach-Franka", NUM_ENVS) as env:
    check_interface(env, env.reset()[0])
    check_expert_and_its_score(env)
    check_reset_is_no_episode(env)
