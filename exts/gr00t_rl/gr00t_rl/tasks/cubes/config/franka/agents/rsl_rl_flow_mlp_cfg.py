# SPDX-License-Identifier: BSD-3-Clause
"""Flow-matching MLP agent of the Cubes task."""

from isaaclab.utils import configclass

from gr00t_rl.cfg import FlowMlpRunnerCfg


@configclass
class CubesFlowMlpRunnerCfg(FlowMlpRunnerCfg):
    """Action chunks of a flow policy with an MLP as its velocity field."""

    experiment_name: str = "flow_mlp_cubes_franka"
