# SPDX-License-Identifier: BSD-3-Clause
"""Demonstrations of the reach expert: what is recorded is what was seen and should have been done, and resumes."""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import torch
from simulated import simulated

from gr00t_rl.data import DatasetWriter, Demonstrations, Layout
from gr00t_rl.data.collect import NOISE_BLOCK, Collector, collect, privileged_columns
from gr00t_rl.gr00t import ActionKey, Modality, StateKey
from gr00t_rl.tasks.experts import make_expert

TASK, NUM_ENVS, EPISODES = "Gr00t-Reach-Franka", 2, 9
STATE = {"goal": StateKey("policy", 19, 22), "joints": StateKey("policy", 0, 9)}
MODALITY = Modality("franka", {}, STATE, {"arm": ActionKey(0, 4, absolute=False), "gripper": ActionKey(4, 5)})
ARGS = argparse.Namespace(task=TASK, episodes=EPISODES, num_envs=NUM_ENVS, keep_failures=False, seed=3, out="")


def check_recorded(env, data: Demonstrations) -> None:
    """Replaying the first episode's seed shows the recorded states, and the expert's own action as label."""
    obs, _ = env.reset(seed=3 * NOISE_BLOCK)
    expert = make_expert(TASK, env)
    first = data.start[data.success.nonzero()[0]]
    state = torch.cat((obs["policy"][:, 19:22], obs["policy"][:, 0:9]), dim=1)
    assert (state - data.state[first]).abs().sum(1).min() < 1e-6, "no env starts where the first episode does"
    env_index = int((state - data.state[first]).abs().sum(1).argmin())
    assert torch.equal(expert()[env_index], data.action[first][0])
    # the label is clean: it moves straight to the goal at no more than full speed
    assert data.action[:, :3].norm(dim=-1).max() <= 1.0 + 1e-6
    assert (data.action[:, 4] == 1.0).all()


def check_dataset(root: Path) -> Demonstrations:
    data = Demonstrations.load([root])
    lengths = data.start.diff()
    assert data.num_episodes == EPISODES and bool(data.success.all())
    assert int(lengths.min()) > 5 and int(lengths.max()) <= 60
    assert data.instructions == ["reach the green ball"]
    assert data.state.shape == (len(data), 12) and data.action.shape == (len(data), 5)
    # a goal stays where it is during an episode, and differs between episodes
    goals = data.state[:, :3]
    same = (goals[1:] - goals[:-1]).abs().sum(1) < 1e-6
    assert torch.equal(same, data.episode[1:] == data.episode[:-1])
    # the critic's goal is the policy's
    assert data.layout.privileged == ("goal_0", "goal_1", "goal_2") and torch.equal(data.privileged, goals)
    data.check(MODALITY)
    return data


def roll_back(root: Path, out: Path) -> None:
    """Copy a dataset and make it look as if it had been stopped after its first round."""
    shutil.copytree(root, out)
    progress = out / "meta" / "collection.json"
    content = json.loads(progress.read_text())
    assert content["rounds"] >= 2, content
    progress.write_text(json.dumps(content | {"rounds": 1, "episodes": 4 * NUM_ENVS}))


with simulated(TASK, NUM_ENVS) as env, tempfile.TemporaryDirectory() as name:
    names, columns = privileged_columns(env, ["goal"])
    layout = Layout.of(MODALITY, {}, 20.0, privileged=names)
    whole, resumed = Path(name) / "whole", Path(name) / "resumed"
    collector = Collector(env, make_expert(TASK, env), MODALITY, 0.2, columns)
    collect(ARGS, collector, DatasetWriter(whole, layout, {"seed": 3}))
    roll_back(whole, resumed)
    collect(ARGS, collector, DatasetWriter(resumed, layout, {"seed": 3}))
    data = check_dataset(whole)
    again = check_dataset(resumed)
    assert torch.equal(again.state, data.state) and torch.equal(again.action, data.action)
    check_recorded(env, data)
