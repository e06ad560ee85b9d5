# SPDX-License-Identifier: BSD-3-Clause
"""The envs of a group start alike, and equal actions keep them alike. Argument: "ours" or "stock".

"ours" is the Push task. "stock" is Isaac Lab's ``Isaac-Reach-Franka``, its own reset terms and its pose command, with
our arm, a cube under one more stock reset term, and no ground plane, so that it starts offline.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator

import gymnasium as gym
import torch
from isaaclab.app import launch_simulation
from isaaclab.envs import ManagerBasedRLEnv, mdp
from isaaclab.managers import EventTermCfg, SceneEntityCfg
from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper, handle_deprecated_rsl_rl_cfg
from isaaclab_tasks.utils.hydra import resolve_task_config
from rsl_rl.runners import OnPolicyRunner
from simulated import simulated

from gr00t_rl.assets import cube_cfg
from gr00t_rl.assets.franka.franka_cfg import FRANKA_PRIMITIVE_CFG
from gr00t_rl.cfg import ActionKeyCfg, Gr00tRunnerCfg, ModalityCfg, StateKeyCfg
from gr00t_rl.tasks.agents import act_on
from gr00t_rl.tasks.grouping import share_starts
from gr00t_rl.tasks.tabletop.mdp import goal_position

NUM_ENVS, SIZE = 24, 4


@contextlib.contextmanager
def stock() -> Iterator[ManagerBasedRLEnv]:
    cfg, _ = resolve_task_config("Isaac-Reach-Franka", None, overrides=[f"env.scene.num_envs={NUM_ENVS}"])
    cfg.scene.robot, cfg.scene.ground = FRANKA_PRIMITIVE_CFG, None
    cfg.scene.cube = cube_cfg("Cube", (1.0, 0.0, 0.0))
    cfg.events.reset_cube = EventTermCfg(
        func=mdp.reset_root_state_uniform,
        mode="reset",
        params={
            "pose_range": {"x": (-0.1, 0.1), "y": (-0.2, 0.2), "yaw": (-1.0, 1.0)},
            "velocity_range": {},
            "asset_cfg": SceneEntityCfg("cube"),
        },
    )
    cfg.commands.ee_pose.debug_vis = False
    cfg.observations.policy.enable_corruption = False  # sensor noise is each env's own
    cfg.sim.device, cfg.seed = "cpu", 0
    share_starts(cfg, SIZE)  # the one line
    with launch_simulation(cfg, argparse.Namespace(device="cpu", headless=True)):
        yield gym.make("Isaac-Reach-Franka", cfg=cfg).unwrapped
        print("CHECKS PASSED", flush=True)
        os._exit(0)  # as in `simulated`: an orderly shutdown is slow


def state_of(env: ManagerBasedRLEnv) -> dict[str, torch.Tensor]:
    """Everything that an episode starts from, in the env frame, one row per env."""
    parts = {
        f"{name}.{key}": value
        for assets in env.scene.get_state(is_relative=True).values()
        for name, state in assets.items()
        for key, value in state.items()
    }
    parts["goal"] = goal_position(env)
    for name in env.command_manager.active_terms:
        parts[f"command.{name}"] = env.command_manager.get_command(name)
        parts[f"command.{name}.time_left"] = env.command_manager.get_term(name).time_left
    return {name: value.clone() for name, value in parts.items()}


def rows(value: torch.Tensor) -> torch.Tensor:
    """A value per env [N, ...] as [groups, members, numbers]."""
    return value.view(NUM_ENVS // SIZE, SIZE, -1)


def check_alike(values: dict[str, torch.Tensor]) -> None:
    for name, value in values.items():
        assert torch.equal(rows(value), rows(value)[:, :1].expand_as(rows(value))), name


def random_names(values: dict[str, torch.Tensor]) -> set[str]:
    """Names of values in which each group differs from every other."""
    return {name for name, value in values.items() if len(rows(value)[:, 0].unique(dim=0)) == NUM_ENVS // SIZE}


def check_starts(env: ManagerBasedRLEnv, expected: set[str]) -> None:
    seen = []
    for _ in range(2):
        obs, _ = env.reset()
        state = state_of(env)
        check_alike(state)
        check_alike(dict(obs))
        assert expected <= random_names(state), random_names(state)
        seen.append(state)
    for name in expected:
        assert not torch.equal(seen[0][name], seen[1][name]), "every reset draws anew"


def check_equal_actions(env: ManagerBasedRLEnv, steps: int) -> None:
    """To the last bit: observations, rewards and ends; with contacts in Push, where all close and go down."""
    generator = torch.Generator().manual_seed(1)
    width = env.action_manager.total_action_dim
    env.reset()
    for _ in range(steps):
        action = 2 * torch.rand(NUM_ENVS // SIZE, 1, width, generator=generator) - 1
        obs, reward, terminated, timed_out, _ = env.step(action.expand(-1, SIZE, -1).reshape(NUM_ENVS, width))
        assert not (terminated | timed_out).all(), "the episode is over; the rest would show nothing"
        check_alike({**obs, "reward": reward, "terminated": terminated, **state_of(env)})


def check_own_resets(env: ManagerBasedRLEnv, name: str) -> None:
    """An env that is reset by itself starts somewhere else than its group did."""
    env.reset()
    before = state_of(env)[name]
    env.reset(torch.tensor([1, SIZE + 2], dtype=torch.int32))
    moved = (state_of(env)[name] != before).flatten(1).any(1).nonzero().squeeze(1).tolist()
    assert moved == [1, SIZE + 2], moved


def check_training(env: ManagerBasedRLEnv) -> None:
    """A small GR00T learns on an env that knows nothing of us, but for an instruction: docs/own_task.md."""
    keys = {"policy": StateKeyCfg(group="policy", start=0, end=32, normalization=None)}
    joints = ActionKeyCfg(start=0, end=7, normalization=None, absolute=True, hold=0.0)
    loaded = Gr00tRunnerCfg()
    act_on(loaded, ModalityCfg(state=keys, action={"joints": joints}))
    loaded.obs_groups["critic"] = ["policy"]
    cfg = handle_deprecated_rsl_rl_cfg(loaded, "5.5.1").to_dict() | {"device": "cpu", "num_steps_per_env": 16}
    cfg["algorithm"]["num_critic_warmup_iterations"] = 0
    env.cfg.instruction = "reach the pose"
    runner = OnPolicyRunner(RslRlVecEnvWrapper(env), cfg, None, "cpu")
    before = torch.cat([p.detach().flatten() for p in runner.alg.get_policy().parameters()])
    runner.learn(1)
    assert not torch.equal(torch.cat([p.detach().flatten() for p in runner.alg.get_policy().parameters()]), before)


if sys.argv[1] == "ours":
    with simulated("Gr00t-Push-Cube-Franka", NUM_ENVS, f"env.start_group_size={SIZE}") as env:
        check_starts(env, {"robot.joint_position", "cube.root_pose", "goal"})
        check_equal_actions(env, 40)
        check_own_resets(env, "goal")
else:
    with stock() as env:
        check_starts(env, {"robot.joint_position", "cube.root_pose", "command.ee_pose"})
        check_equal_actions(env, 20)
        check_own_resets(env, "cube.root_pose")
        check_training(env)
