# SPDX-License-Identifier: BSD-3-Clause
"""MLP agents of the Reach task."""

from isaaclab.utils import configclass

from gr00t_rl.cfg import MlpPpoRunnerCfg, MlpRunnerCfg


@configclass
class ReachMlpRunnerCfg(MlpRunnerCfg):
    """Gaussian MLP policy, one decision per env step."""

    experiment_name: str = "mlp_reach_franka"


@configclass
class ReachMlpPpoRunnerCfg(MlpPpoRunnerCfg):
    """Plain PPO."""

    experiment_name: str = "mlp_reach_franka_ppo"
