# SPDX-License-Identifier: BSD-3-Clause
"""GR00T agents of the Reach tasks."""

from isaaclab.utils import configclass

from gr00t_rl.cfg import Gr00tPpoRunnerCfg, Gr00tRunnerCfg


@configclass
class ReachGr00tRunnerCfg(Gr00tRunnerCfg):
    """GR00T on state observations: the prompt is its only text, the state its only sense."""

    experiment_name: str = "gr00t_reach_franka"


@configclass
class ReachCameraGr00tRunnerCfg(Gr00tRunnerCfg):
    """GR00T on pictures of the front camera and proprioception."""

    experiment_name: str = "gr00t_reach_franka_camera"
    obs_groups: dict[str, list[str]] = {"actor": ["policy", "front"], "critic": ["critic"]}


@configclass
class ReachGr00tPpoRunnerCfg(Gr00tPpoRunnerCfg):
    """Plain PPO, state observations."""

    experiment_name: str = "gr00t_reach_franka_ppo"


@configclass
class ReachCameraGr00tPpoRunnerCfg(Gr00tPpoRunnerCfg):
    """Plain PPO, pictures and proprioception."""

    experiment_name: str = "gr00t_reach_franka_camera_ppo"
    obs_groups: dict[str, list[str]] = {"actor": ["policy", "front"], "critic": ["critic"]}
