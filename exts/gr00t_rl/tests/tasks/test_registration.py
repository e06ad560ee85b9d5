# SPDX-License-Identifier: BSD-3-Clause
"""The gym IDs, and that asking for them stays cheap."""

import re
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest
from isaaclab_assets.robots.franka import FRANKA_PANDA_CFG
from isaaclab_tasks.utils.hydra import resolve_task_config

import gr00t_rl.tasks  # noqa: F401
from gr00t_rl.assets import FRANKA_PRIMITIVE_CFG, FRANKA_TCP_OFFSET
from gr00t_rl.tasks.tabletop.env_cfg import PANDA_ROWS, TabletopEnvCfg
from gr00t_rl.tasks.tabletop.franka_panda import FRANKA_PANDA_TABLETOP_CFG
from gr00t_rl.tasks.tabletop.robot import ARM_JOINTS, FINGER_JOINTS, HAND
from gr00t_rl.tasks.tabletop.scene import wrist_camera_cfg

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


def test_demonstrations_page_has_the_memory_of_running_episodes() -> None:
    """docs/demonstrations.md: what `gr00t-rl collect` keeps of the pictures of Push-Camera with its default of envs."""
    from gr00t_rl.cli.collect import build_parser

    text = (Path(__file__).parents[4] / "docs" / "demonstrations.md").read_text(encoding="utf-8")
    found = re.search(
        r"That is ([\d.]+) GB for Push-Camera with (\d+) envs \((\d+) steps, two cameras of (\d+)²\),\s+"
        r"([\d.]+) GB at (\d+)², and ([\d.]+) GB at (\d+) × (\d+)\.",
        text,
    )
    assert found is not None
    cfg, _ = resolve_task_config("Gr00t-Push-Cube-Franka-Camera", None, overrides=[])
    envs, steps = int(found[2]), int(found[3])
    assert envs == build_parser().get_default("num_envs")
    assert steps == round(cfg.episode_length_s / (cfg.decimation * cfg.sim.dt))
    assert int(found[4]) == cfg.camera_size and cfg.scene.front is not None and cfg.scene.wrist is not None
    for told, pixels in ((1, int(found[4]) ** 2), (5, int(found[6]) ** 2), (7, int(found[8]) * int(found[9]))):
        assert float(found[told]) == pytest.approx(steps * envs * 2 * 3 * pixels / 1e9, rel=0.02)


@pytest.mark.parametrize(("physics", "variant"), [("newton_mjwarp", "mujoco"), ("ovphysx", "physx")])
@pytest.mark.parametrize("task", ["Gr00t-Reach-Franka", "Gr00t-Stack-Cube-Franka-Camera"])
def test_isaac_labs_own_panda_is_a_preset(task: str, physics: str, variant: str) -> None:
    """Its files are on a server: what can be told without them is compared with our arm and with Isaac Lab's cfgs."""
    chosen = [f"physics={physics}", "env.scene.robot=franka_panda"]
    cfg, _ = resolve_task_config(task, None, overrides=chosen)
    cfg.validate_config()
    robot, ours = cfg.scene.robot, FRANKA_PRIMITIVE_CFG
    assert robot.spawn.usd_path == FRANKA_PANDA_CFG.spawn.usd_path
    assert robot.spawn.variants == {"Physics": variant, "Colliders": "gripper_only"}
    joints = [*ARM_JOINTS, *FINGER_JOINTS]
    names = {joint: [name for name, group in robot.actuators.items() if _matches(group, joint)] for joint in joints}
    assert all(len(found) == 1 for found in names.values()), names
    assert robot.actuators.keys() == FRANKA_PANDA_CFG.actuators.keys(), "Isaac Lab's groups: a mimic finger is passive"
    passive = robot.actuators["panda_finger2_passive"]
    assert (passive.stiffness, passive.damping) == (0.0, 0.0)
    arm = robot.actuators["panda_arm"]
    assert arm.actuator_velocity_limit == ours.actuators["arm"].actuator_velocity_limit
    assert arm.joint_effort_limit == FRANKA_PANDA_CFG.actuators["panda_arm"].joint_effort_limit
    assert robot.init_state.joint_pos == ours.init_state.joint_pos and robot.prim_path == ours.prim_path
    if physics == "newton_mjwarp":
        assert cfg.sim.physics.solver_cfg.njmax >= PANDA_ROWS


def test_isaac_labs_panda_has_the_hand_that_ours_has() -> None:
    """Body, place in the tree and tool centre point, as Isaac Lab's own tasks use them."""
    from isaaclab_tasks.core.cabinet.config.franka.cabinet_direct_env_cfg import FrankaCabinetDirectEnvCfg
    from isaaclab_tasks.core.lift.config.franka.franka_env_cfg import FRANKA_PANDA_LIFT_CFG, FrankaSceneCfg

    cabinet, lift = FrankaCabinetDirectEnvCfg(), FrankaSceneCfg(num_envs=1, env_spacing=1.0)
    assert (cabinet.ee_body_name, cabinet.ee_pos_offset) == (HAND, (0.0, 0.0, FRANKA_TCP_OFFSET))
    hand = lift.panda_leftfinger_object_s.prim_path.removesuffix("/panda_leftfinger")
    assert wrist_camera_cfg().prim_path == f"{hand}/WristCamera"
    arm, theirs = FRANKA_PANDA_TABLETOP_CFG.actuators["panda_arm"], FRANKA_PANDA_LIFT_CFG.actuators["panda_arm"]
    for name in ("stiffness", "damping", "armature", "actuator_velocity_limit", "joint_effort_limit"):
        assert getattr(arm, name) == getattr(theirs, name), name


def _matches(group, joint: str) -> bool:
    return any(re.fullmatch(pattern, joint) for pattern in group.joint_names_expr)


@pytest.mark.parametrize("task", STATE_TASKS)
def test_play_shows_the_goal_to_fewer_envs(task: str) -> None:
    cfg, _ = resolve_task_config(task, None, play_mode=True, overrides=[])
    assert cfg.scene.num_envs <= 16
    assert (cfg.scene.goal_marker is not None) == ("Stack" not in task)  # its goal is a cube


def test_groups_must_divide_the_envs() -> None:
    cfg, _ = resolve_task_config("Gr00t-Reach-Franka", None, overrides=["env.start_group_size=7"])
    with pytest.raises(ValueError, match="start_group_size is 7, which does not divide"):
        cfg.validate_config()
