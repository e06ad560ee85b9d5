# SPDX-License-Identifier: BSD-3-Clause
"""GR00T agents of the Push tasks."""

from isaaclab.utils import configclass

from gr00t_rl.assets import base_checkpoint
from gr00t_rl.cfg import Gr00tCameraFinetuneRunnerCfg, Gr00tFinetuneRunnerCfg, Gr00tPpoRunnerCfg
from gr00t_rl.tasks.agents import act_on
from gr00t_rl.tasks.tabletop.modality import tabletop_modality

STATE = tabletop_modality({"cube": 5, "tcp_to_cube": 3, "goal": 3, "cube_to_goal": 3})
CAMERA = tabletop_modality()


@configclass
class PushCubeGr00tRunnerCfg(Gr00tFinetuneRunnerCfg):
    """GR00T on state observations, from the shipped base policy."""

    experiment_name: str = "gr00t_push_cube_franka"

    def __post_init__(self):
        super().__post_init__()
        act_on(self, STATE, "push_cube")
        # noise that moves the hand over a whole chunk; a grasp is not found under it (docs/screened.md)
        self.actor.noise_correlation = 0.5


@configclass
class PushCubeCameraGr00tRunnerCfg(Gr00tCameraFinetuneRunnerCfg):
    """GR00T on pictures of both cameras and proprioception, from the shipped base policy."""

    experiment_name: str = "gr00t_push_cube_franka_camera"

    def __post_init__(self):
        super().__post_init__()
        act_on(self, CAMERA, "push_cube_camera")


@configclass
class PushCubeCameraN1d7RunnerCfg(PushCubeCameraGr00tRunnerCfg):
    """The same, from a base policy of GR00T N1.7."""

    experiment_name: str = "gr00t_push_cube_franka_camera_n1d7"

    def __post_init__(self):
        super().__post_init__()
        self.actor.checkpoint = base_checkpoint("push_cube_camera_n1d7")


@configclass
class PushCubeGr00tPpoRunnerCfg(Gr00tPpoRunnerCfg):
    """Plain PPO, state observations."""

    experiment_name: str = "gr00t_push_cube_franka_ppo"

    def __post_init__(self):
        super().__post_init__()
        act_on(self, STATE)


@configclass
class PushCubeCameraGr00tPpoRunnerCfg(Gr00tPpoRunnerCfg):
    """Plain PPO, pictures and proprioception."""

    experiment_name: str = "gr00t_push_cube_franka_camera_ppo"

    def __post_init__(self):
        super().__post_init__()
        act_on(self, CAMERA)
