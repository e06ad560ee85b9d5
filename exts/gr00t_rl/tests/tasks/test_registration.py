# SPDX-License-Identifier: BSD-3-Clause
"""The gym IDs, and that asking for them stays cheap."""

import subprocess
import sys

import gymnasium as gym
import pytest
from isaaclab_tasks.utils.hydra import resolve_task_config

import gr00t_rl.tasks  # noqa: F401
from gr00t_rl.tasks.tabletop.env_cfg import TabletopEnvCfg

STATE_TASKS = [
    "Gr00t-Reach-Franka",
    "Gr00t-Push-Cube-Franka",
    "Gr00t-Pick-Place-Cube-Franka",
    "Gr00t-Stack-Cube-Franka",
    "Gr00t-Tabletop-Cubes-Franka",
]
CAMERA_TASKS = [f"{task}-Camera" for task in STATE_TASKS]


def test_registering_imports_no_simulator() -> None:
    """``isaaclab train`` imports every task package before it knows which simulator to start."""
    code = "import sys, gr00t_rl.tasks; print([m for m in ('warp', 'isaaclab', 'pxr') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


@pytest.mark.parametrize("task", STATE_TASKS + CAMERA_TASKS)
def test_task_is_registered(task: str) -> None:
    kwargs = gym.spec(task).kwargs
    assert kwargs["default_agent"] == "rsl_rl"
    assert ".agents.rsl_rl_gr00t_cfg:" in kwargs["rsl_rl_cfg_entry_point"]
    assert ("rsl_rl_mlp_cfg_entry_point" in kwargs) == (task in STATE_TASKS)


@pytest.mark.parametrize("task", STATE_TASKS + CAMERA_TASKS)
@pytest.mark.parametrize("physics", ["newton_mjwarp", "ovphysx"])
def test_cfg_resolves(task: str, physics: str) -> None:
    cfg, _ = resolve_task_config(task, None, overrides=[f"physics={physics}", "env.camera_size=32"])
    assert isinstance(cfg, TabletopEnvCfg)
    assert cfg.instruction
    assert cfg.decimation * cfg.sim.dt == pytest.approx(0.05)
    assert ("Newton" in type(cfg.sim.physics).__name__) == (physics == "newton_mjwarp")
    cfg.validate_config()
    for camera in (cfg.scene.front, cfg.scene.wrist):
        assert (camera is not None) == task.endswith("-Camera")


@pytest.mark.parametrize("task", STATE_TASKS)
def test_play_shows_the_goal_to_fewer_envs(task: str) -> None:
    cfg, _ = resolve_task_config(task, None, play_mode=True, overrides=[])
    assert cfg.scene.num_envs <= 16
    assert (cfg.scene.goal_marker is not None) == ("Stack" not in task)  # its goal is a cube


def test_groups_must_divide_the_envs() -> None:
    cfg, _ = resolve_task_config("Gr00t-Reach-Franka", None, overrides=["env.start_group_size=7"])
    with pytest.raises(ValueError, match="start_group_size is 7, which does not divide"):
        cfg.validate_config()
