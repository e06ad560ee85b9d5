# SPDX-License-Identifier: BSD-3-Clause
"""MLP agents of the Pick-Place task."""

from isaaclab.utils import configclass

from gr00t_rl.cfg import MlpPpoRunnerCfg, MlpRunnerCfg


@configclass
class PickPlaceCubeMlpRunnerCfg(MlpRunnerCfg):
    """Gaussian MLP policy, one decision per env step."""

    experiment_name: str = "mlp_pick_place_cube_franka"


@configclass
class PickPlaceCubeMlpPpoRunnerCfg(MlpPpoRunnerCfg):
    """Plain PPO."""

    experiment_name: str = "mlp_pick_place_cube_franka_ppo"
