# SPDX-License-Identifier: BSD-3-Clause
"""Where the wrist camera looks, and what happens without it."""

import pytest
import torch
from isaaclab.utils.math import quat_apply
from isaaclab_tasks.utils.hydra import resolve_task_config

import gr00t_rl.tasks  # noqa: F401
from gr00t_rl.assets import FRANKA_TCP_OFFSET
from gr00t_rl.tasks.tabletop.robot import down_quat
from gr00t_rl.tasks.tabletop.scene import wrist_camera_cfg
from gr00t_rl.utils.errors import ConfigurationError

TASK = "Gr00t-Push-Cube-Franka-Camera"
WITHOUT = "agent.obs_groups.actor=['policy', 'front']"


def in_world(vector: list[float]) -> torch.Tensor:
    """Direction in the env frame of one in the camera's "world" axes, for a hand that points down without yaw."""
    in_hand = quat_apply(torch.tensor([wrist_camera_cfg().offset.rot]), torch.tensor([vector]))
    return quat_apply(down_quat(torch.zeros(1)), in_hand)[0]


def test_wrist_camera_looks_between_the_fingers() -> None:
    """The finger tips are within a few degrees of the optical axis; the camera is upright and off the palm."""
    offset = wrist_camera_cfg().offset
    eye = quat_apply(down_quat(torch.zeros(1)), torch.tensor([offset.pos]))[0]
    to_tcp = torch.tensor([0.0, 0.0, -FRANKA_TCP_OFFSET]) - eye
    ahead, left, up = in_world([1.0, 0.0, 0.0]), in_world([0.0, 1.0, 0.0]), in_world([0.0, 0.0, 1.0])
    assert torch.dot(ahead, to_tcp / to_tcp.norm()) > 0.98
    assert ahead[0] > 0 and ahead[2] < 0, "forward and down"
    assert torch.allclose(left, torch.tensor([0.0, 1.0, 0.0]), atol=1e-5) and up[2] > 0
    assert eye[0] < -0.04, "the palm reaches 3 cm to each side"


def test_both_cameras_have_the_size_that_is_set() -> None:
    cfg, agent = resolve_task_config(TASK, "rsl_rl_cfg_entry_point", overrides=["env.camera_size=32"])
    agent.device = "cpu"
    cfg.validate_config()
    for camera in (cfg.scene.front, cfg.scene.wrist):
        assert (camera.width, camera.height) == (32, 32)


def test_without_the_wrist_camera_the_agent_must_not_read_it() -> None:
    cfg, agent = resolve_task_config(TASK, "rsl_rl_cfg_entry_point", overrides=["env.wrist_camera=false"])
    agent.device = "cpu"
    with pytest.raises(ConfigurationError) as error:
        cfg.validate_config()
    assert "'wrist'" in str(error.value) and "\n" not in str(error.value)
    assert f'set "{WITHOUT}"' in str(error.value)


def test_without_the_wrist_camera() -> None:
    overrides = ["env.wrist_camera=false", WITHOUT]
    cfg, agent = resolve_task_config(TASK, "rsl_rl_cfg_entry_point", overrides=overrides)
    agent.device = "cpu"
    with pytest.raises(ConfigurationError, match=r"modality\.video\.wrist is 'wrist'"):
        cfg.validate_config()
    agent.actor.modality.video = {"front": "front"}
    cfg.validate_config()
    assert cfg.scene.wrist is None and cfg.observations.wrist is None and cfg.scene.front is not None
