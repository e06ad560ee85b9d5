# SPDX-License-Identifier: BSD-3-Clause
"""Which camera films a task."""

import argparse

import pytest

pytestmark = pytest.mark.slow  # imports Isaac Lab


@pytest.mark.parametrize("task", ["Gr00t-Push-Cube-Franka", "Gr00t-Push-Cube-Franka-Camera"])
def test_every_task_gets_a_camera_of_its_own(task: str) -> None:
    """The added camera passes the checks before the start, and the policy's own pictures stay as they are."""
    from isaaclab_tasks.utils import resolve_task_config

    import gr00t_rl.tasks  # noqa: F401
    from gr00t_rl.evaluation.film import NUM_ENVS, SIZE, film_cfg
    from gr00t_rl.launch.film_camera import SENSOR
    from gr00t_rl.tasks.tabletop.env_cfg import TabletopEnvCfg

    cfg, _ = resolve_task_config(task, None, overrides=["env.camera_size=32"])
    assert isinstance(cfg, TabletopEnvCfg)
    assert film_cfg(cfg) is None
    cfg.validate_config()
    camera = getattr(cfg.scene, SENSOR)
    assert (camera.width, camera.height) == (SIZE, SIZE)
    assert cfg.scene.num_envs == NUM_ENVS
    assert cfg.scene.goal_marker is not None
    if task.endswith("-Camera"):
        assert cfg.scene.front is not None and cfg.scene.front.width == 32
        assert camera.prim_path != cfg.scene.front.prim_path


def test_a_scene_without_a_camera_says_why() -> None:
    from isaaclab.scene import InteractiveSceneCfg

    from gr00t_rl.evaluation.film import film_cfg

    scene = InteractiveSceneCfg(num_envs=1, env_spacing=1.0)
    assert film_cfg(argparse.Namespace(scene=scene)) == "the scene has no camera"
