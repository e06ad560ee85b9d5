# SPDX-License-Identifier: BSD-3-Clause
"""MLP agents of the Cubes task."""

from isaaclab.utils import configclass

from gr00t_rl.cfg import MlpPpoRunnerCfg, MlpRunnerCfg


@configclass
class CubesMlpRunnerCfg(MlpRunnerCfg):
    """Gaussian MLP policy, one decision per env step."""

    experiment_name: str = "mlp_cubes_franka"


@configclass
class CubesMlpPpoRunnerCfg(MlpPpoRunnerCfg):
    """Plain PPO."""

    experiment_name: str = "mlp_cubes_franka_ppo"
