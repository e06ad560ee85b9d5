# SPDX-License-Identifier: BSD-3-Clause
"""GRPO agents of the Reach tasks."""

from isaaclab.utils import configclass

from gr00t_rl.cfg import FlowMlpGrpoRunnerCfg, Gr00tGrpoRunnerCfg, MlpGrpoRunnerCfg
from gr00t_rl.tasks.agents import act_on

from .rsl_rl_gr00t_cfg import CAMERA, STATE


@configclass
class ReachGr00tGrpoRunnerCfg(Gr00tGrpoRunnerCfg):
    """GR00T on state observations: the prompt is its only text, the state its only sense."""

    experiment_name: str = "gr00t_reach_franka_grpo"

    def __post_init__(self):
        super().__post_init__()
        act_on(self, STATE)


@configclass
class ReachCameraGr00tGrpoRunnerCfg(Gr00tGrpoRunnerCfg):
    """GR00T on pictures and proprioception."""

    experiment_name: str = "gr00t_reach_franka_camera_grpo"

    def __post_init__(self):
        super().__post_init__()
        act_on(self, CAMERA)


@configclass
class ReachFlowMlpGrpoRunnerCfg(FlowMlpGrpoRunnerCfg):
    """Action chunks of a flow policy with an MLP as its velocity field."""

    experiment_name: str = "flow_mlp_reach_franka_grpo"


@configclass
class ReachMlpGrpoRunnerCfg(MlpGrpoRunnerCfg):
    """Gaussian MLP policy, one decision per env step."""

    experiment_name: str = "mlp_reach_franka_grpo"
