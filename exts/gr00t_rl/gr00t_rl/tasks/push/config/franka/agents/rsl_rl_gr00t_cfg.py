# SPDX-License-Identifier: BSD-3-Clause
"""GR00T agents of the Push tasks."""

from isaaclab.utils import configclass

from gr00t_rl.assets import base_checkpoint
from gr00t_rl.cfg import Gr00tFinetuneRunnerCfg, Gr00tPpoRunnerCfg
from gr00t_rl.tasks.tabletop.modality import tabletop_modality

STATE = tabletop_modality({"cube": 5, "tcp_to_cube": 3, "goal": 3, "cube_to_goal": 3})
CAMERA = tabletop_modality()
CAMERA_GROUPS = {"actor": ["policy", "front", "wrist"], "critic": ["critic"]}


@configclass
class PushCubeGr00tRunnerCfg(Gr00tFinetuneRunnerCfg):
    """GR00T on state observations, from the shipped base policy."""

    experiment_name: str = "gr00t_push_cube_franka"

    def __post_init__(self):
        super().__post_init__()
        self.actor.modality = STATE.copy()
        self.actor.checkpoint = base_checkpoint("push_cube")


@configclass
class PushCubeCameraGr00tRunnerCfg(Gr00tFinetuneRunnerCfg):
    """GR00T on pictures of both cameras and proprioception, from the shipped base policy."""

    experiment_name: str = "gr00t_push_cube_franka_camera"
    obs_groups: dict[str, list[str]] = CAMERA_GROUPS

    def __post_init__(self):
        super().__post_init__()
        self.actor.modality = CAMERA.copy()
        self.actor.checkpoint = base_checkpoint("push_cube_camera")


@configclass
class PushCubeGr00tPpoRunnerCfg(Gr00tPpoRunnerCfg):
    """Plain PPO, state observations."""

    experiment_name: str = "gr00t_push_cube_franka_ppo"

    def __post_init__(self):
        super().__post_init__()
        self.actor.modality = STATE.copy()


@configclass
class PushCubeCameraGr00tPpoRunnerCfg(Gr00tPpoRunnerCfg):
    """Plain PPO, pictures and proprioception."""

    experiment_name: str = "gr00t_push_cube_franka_camera_ppo"
    obs_groups: dict[str, list[str]] = CAMERA_GROUPS

    def __post_init__(self):
        super().__post_init__()
        self.actor.modality = CAMERA.copy()
