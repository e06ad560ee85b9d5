# SPDX-License-Identifier: BSD-3-Clause
"""MLP agents of the Push task."""

from isaaclab.utils import configclass

from gr00t_rl.cfg import MlpPpoRunnerCfg, MlpRunnerCfg


@configclass
class PushCubeMlpRunnerCfg(MlpRunnerCfg):
    """Gaussian MLP policy, one decision per env step."""

    experiment_name: str = "mlp_push_cube_franka"


@configclass
class PushCubeMlpPpoRunnerCfg(MlpPpoRunnerCfg):
    """Plain PPO."""

    experiment_name: str = "mlp_push_cube_franka_ppo"
