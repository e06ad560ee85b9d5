# SPDX-License-Identifier: BSD-3-Clause
"""GR00T agents of the Cubes tasks."""

from isaaclab.utils import configclass

from gr00t_rl.cfg import Gr00tCameraFinetuneRunnerCfg, Gr00tFinetuneRunnerCfg, Gr00tPpoRunnerCfg, explore
from gr00t_rl.tasks.agents import act_on
from gr00t_rl.tasks.tabletop.modality import tabletop_modality

# All of the ``policy`` group but its end, the task's number: language is what tells GR00T the task.
STATE = tabletop_modality(
    {"cube": 5, "tcp_to_cube": 3, "goal": 3, "cube_to_goal": 3, "base_cube": 5, "cube_to_base": 3}
)
CAMERA = tabletop_modality()
EXPLORATION = {"noise_level": 0.5, "desired_kl": 0.04}  # as for Pick-Place; no other was run, and from pictures none


@configclass
class CubesGr00tRunnerCfg(Gr00tFinetuneRunnerCfg):
    """GR00T on state observations, from the shipped base policy."""

    experiment_name: str = "gr00t_cubes_franka"

    def __post_init__(self):
        super().__post_init__()
        act_on(self, STATE, "cubes")
        explore(self, **EXPLORATION)


@configclass
class CubesCameraGr00tRunnerCfg(Gr00tCameraFinetuneRunnerCfg):
    """GR00T on pictures of both cameras and proprioception, with the settings for a base policy."""

    experiment_name: str = "gr00t_cubes_franka_camera"

    def __post_init__(self):
        super().__post_init__()
        act_on(self, CAMERA)
        explore(self, **EXPLORATION)


@configclass
class CubesGr00tPpoRunnerCfg(Gr00tPpoRunnerCfg):
    """Plain PPO, state observations."""

    experiment_name: str = "gr00t_cubes_franka_ppo"

    def __post_init__(self):
        super().__post_init__()
        act_on(self, STATE)


@configclass
class CubesCameraGr00tPpoRunnerCfg(Gr00tPpoRunnerCfg):
    """Plain PPO, pictures and proprioception."""

    experiment_name: str = "gr00t_cubes_franka_camera_ppo"

    def __post_init__(self):
        super().__post_init__()
        act_on(self, CAMERA)
