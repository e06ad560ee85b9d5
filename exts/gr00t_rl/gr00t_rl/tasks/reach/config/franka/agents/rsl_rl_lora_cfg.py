# SPDX-License-Identifier: BSD-3-Clause
"""GR00T agents of the Reach tasks that train LoRA adapters: for checkpoints of the released size."""

from isaaclab.utils import configclass

from gr00t_rl.cfg import explore
from gr00t_rl.tasks.agents import train_adapters

from .rsl_rl_gr00t_cfg import ReachCameraGr00tRunnerCfg, ReachGr00tRunnerCfg

# for a checkpoint: the rate of the agents that they derive from is one for random weights
EXPLORATION = {"noise_level": 0.5, "desired_kl": 0.1}


@configclass
class ReachGr00tLoraRunnerCfg(ReachGr00tRunnerCfg):
    """State observations."""

    def __post_init__(self):
        super().__post_init__()
        explore(self, **EXPLORATION)
        train_adapters(self)


@configclass
class ReachCameraGr00tLoraRunnerCfg(ReachCameraGr00tRunnerCfg):
    """Pictures and proprioception."""

    def __post_init__(self):
        super().__post_init__()
        explore(self, **EXPLORATION)
        train_adapters(self)
