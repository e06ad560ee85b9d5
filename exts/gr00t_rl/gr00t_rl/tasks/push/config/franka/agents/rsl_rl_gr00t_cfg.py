# SPDX-License-Identifier: BSD-3-Clause
"""GR00T agents of the Push tasks."""

from isaaclab.utils import configclass

from gr00t_rl.cfg import Gr00tPpoRunnerCfg, Gr00tRunnerCfg


@configclass
class PushCubeGr00tRunnerCfg(Gr00tRunnerCfg):
    """GR00T on state observations: the prompt is its only text, the state its only sense."""

    experiment_name: str = "gr00t_push_cube_franka"


@configclass
class PushCubeCameraGr00tRunnerCfg(Gr00tRunnerCfg):
    """GR00T on pictures of the front camera and proprioception."""

    experiment_name: str = "gr00t_push_cube_franka_camera"
    obs_groups: dict[str, list[str]] = {"actor": ["policy", "front"], "critic": ["critic"]}


@configclass
class PushCubeGr00tPpoRunnerCfg(Gr00tPpoRunnerCfg):
    """Plain PPO, state observations."""

    experiment_name: str = "gr00t_push_cube_franka_ppo"


@configclass
class PushCubeCameraGr00tPpoRunnerCfg(Gr00tPpoRunnerCfg):
    """Plain PPO, pictures and proprioception."""

    experiment_name: str = "gr00t_push_cube_franka_camera_ppo"
    obs_groups: dict[str, list[str]] = {"actor": ["policy", "front"], "critic": ["critic"]}
