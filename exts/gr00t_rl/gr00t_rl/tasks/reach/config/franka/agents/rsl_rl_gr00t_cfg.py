# SPDX-License-Identifier: BSD-3-Clause
"""GR00T agents of the Reach tasks."""

from isaaclab.utils import configclass

from gr00t_rl.cfg import Gr00tPpoRunnerCfg, Gr00tRunnerCfg
from gr00t_rl.tasks.agents import act_on
from gr00t_rl.tasks.tabletop.modality import tabletop_modality

STATE = tabletop_modality({"goal": 3, "tcp_to_goal": 3})
CAMERA = tabletop_modality()


@configclass
class ReachGr00tRunnerCfg(Gr00tRunnerCfg):
    """GR00T on state observations: the prompt is its only text, the state its only sense."""

    experiment_name: str = "gr00t_reach_franka"

    def __post_init__(self):
        super().__post_init__()
        act_on(self, STATE)


@configclass
class ReachCameraGr00tRunnerCfg(Gr00tRunnerCfg):
    """GR00T on pictures of both cameras and proprioception."""

    experiment_name: str = "gr00t_reach_franka_camera"

    def __post_init__(self):
        super().__post_init__()
        act_on(self, CAMERA)


@configclass
class ReachGr00tPpoRunnerCfg(Gr00tPpoRunnerCfg):
    """Plain PPO, state observations."""

    experiment_name: str = "gr00t_reach_franka_ppo"

    def __post_init__(self):
        super().__post_init__()
        act_on(self, STATE)


@configclass
class ReachCameraGr00tPpoRunnerCfg(Gr00tPpoRunnerCfg):
    """Plain PPO, pictures and proprioception."""

    experiment_name: str = "gr00t_reach_franka_camera_ppo"

    def __post_init__(self):
        super().__post_init__()
        act_on(self, CAMERA)
