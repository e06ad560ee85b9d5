# SPDX-License-Identifier: BSD-3-Clause
"""Plain MLP agent of the Reach task."""

from isaaclab.utils import configclass

from gr00t_rl.cfg import MlpRunnerCfg


@configclass
class ReachMlpRunnerCfg(MlpRunnerCfg):
    """Gaussian MLP policy, one decision per env step."""

    experiment_name: str = "mlp_reach_franka"
