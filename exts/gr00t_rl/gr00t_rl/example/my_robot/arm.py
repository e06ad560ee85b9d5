"""The robot: two links that turn over a table, driven by joint velocities."""

from pathlib import Path

import isaaclab.sim as sim_utils
from isaaclab.actuators import ImplicitActuatorCfg
from isaaclab.assets import ArticulationCfg

UPPER_ARM, FOREARM = 0.3, 0.25
"""Lengths of the links [m]."""

HEIGHT = 0.08
"""Height of the links over the table [m]."""

ARM_CFG = ArticulationCfg(
    prim_path="{ENV_REGEX_NS}/Robot",
    spawn=sim_utils.UsdFileCfg(usd_path=str(Path(__file__).parent / "arm.usda")),
    init_state=ArticulationCfg.InitialStateCfg(joint_pos={"shoulder": -0.6, "elbow": 1.2}),
    actuators={
        "joints": ImplicitActuatorCfg(
            joint_names_expr=["shoulder", "elbow"], joint_effort_limit=50.0, stiffness=0.0, damping=20.0, armature=0.1
        )
    },
)
"""Joints, in order: shoulder, elbow [rad]."""
