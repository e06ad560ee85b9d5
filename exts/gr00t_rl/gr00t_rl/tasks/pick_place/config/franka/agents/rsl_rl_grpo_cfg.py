# SPDX-License-Identifier: BSD-3-Clause
"""GRPO agents of the Pick-Place tasks."""

from isaaclab.utils import configclass

from gr00t_rl.cfg import (
    FlowMlpGrpoRunnerCfg,
    Gr00tCameraGrpoFinetuneRunnerCfg,
    Gr00tGrpoFinetuneRunnerCfg,
    MlpGrpoRunnerCfg,
    explore,
)
from gr00t_rl.tasks.agents import act_on

from .rsl_rl_gr00t_cfg import CAMERA, EXPLORATION, STATE


@configclass
class PickPlaceCubeGr00tGrpoRunnerCfg(Gr00tGrpoFinetuneRunnerCfg):
    """GR00T on state observations, from the shipped base policy."""

    experiment_name: str = "gr00t_pick_place_cube_franka_grpo"

    def __post_init__(self):
        super().__post_init__()
        act_on(self, STATE, "pick_place_cube")
        explore(self, **EXPLORATION)


@configclass
class PickPlaceCubeCameraGr00tGrpoRunnerCfg(Gr00tCameraGrpoFinetuneRunnerCfg):
    """GR00T on pictures and proprioception, from the shipped base policy."""

    experiment_name: str = "gr00t_pick_place_cube_franka_camera_grpo"

    def __post_init__(self):
        super().__post_init__()
        act_on(self, CAMERA, "tabletop_camera")
        explore(self, **EXPLORATION)


@configclass
class PickPlaceCubeFlowMlpGrpoRunnerCfg(FlowMlpGrpoRunnerCfg):
    """Action chunks of a flow policy with an MLP as its velocity field."""

    experiment_name: str = "flow_mlp_pick_place_cube_franka_grpo"


@configclass
class PickPlaceCubeMlpGrpoRunnerCfg(MlpGrpoRunnerCfg):
    """Gaussian MLP policy, one decision per env step."""

    experiment_name: str = "mlp_pick_place_cube_franka_grpo"
