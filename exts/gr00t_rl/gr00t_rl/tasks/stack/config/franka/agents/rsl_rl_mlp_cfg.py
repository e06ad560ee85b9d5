# SPDX-License-Identifier: BSD-3-Clause
"""MLP agents of the Stack task."""

from isaaclab.utils import configclass

from gr00t_rl.cfg import MlpPpoRunnerCfg, MlpRunnerCfg


@configclass
class StackCubeMlpRunnerCfg(MlpRunnerCfg):
    """Gaussian MLP policy, one decision per env step."""

    experiment_name: str = "mlp_stack_cube_franka"


@configclass
class StackCubeMlpPpoRunnerCfg(MlpPpoRunnerCfg):
    """Plain PPO."""

    experiment_name: str = "mlp_stack_cube_franka_ppo"
