# SPDX-License-Identifier: BSD-3-Clause
"""GR00T agents of the Stack tasks that train LoRA adapters: for checkpoints of the released size."""

from isaaclab.utils import configclass

from gr00t_rl.tasks.agents import train_adapters

from .rsl_rl_gr00t_cfg import StackCubeCameraGr00tRunnerCfg, StackCubeGr00tRunnerCfg


@configclass
class StackCubeGr00tLoraRunnerCfg(StackCubeGr00tRunnerCfg):
    """State observations."""

    def __post_init__(self):
        super().__post_init__()
        train_adapters(self)


@configclass
class StackCubeCameraGr00tLoraRunnerCfg(StackCubeCameraGr00tRunnerCfg):
    """Pictures and proprioception."""

    def __post_init__(self):
        super().__post_init__()
        train_adapters(self)
