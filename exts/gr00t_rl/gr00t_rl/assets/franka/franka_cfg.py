# SPDX-License-Identifier: BSD-3-Clause
"""Articulation cfg of the primitive Panda for Newton and PhysX."""

from pathlib import Path

import isaaclab.sim as sim_utils
from isaaclab.actuators import ImplicitActuatorCfg
from isaaclab.assets import ArticulationCfg
from isaaclab_newton.sim.schemas import MujocoRigidBodyCfg, NewtonArticulationCfg
from isaaclab_physx.sim.schemas import PhysxArticulationCfg, PhysxRigidBodyCfg

FRANKA_TCP_OFFSET = 0.1034
"""Distance from the ``panda_hand`` frame along its z axis to the point between the finger tips [m]."""

FRANKA_HOME = {
    "panda_joint1": 0.0,
    "panda_joint2": -0.2,
    "panda_joint3": 0.0,
    "panda_joint4": -2.5,
    "panda_joint5": 0.0,
    "panda_joint6": 2.3,
    "panda_joint7": 0.7853982,
    "panda_finger_joint.*": 0.04,
}
"""Joint positions [rad, m] with the open gripper pointing straight down over the middle of the table."""

_ARM_STIFFNESS = 600.0  # [N m/rad]
_ARM_DAMPING = 60.0  # [N m s/rad]

FRANKA_PRIMITIVE_CFG = ArticulationCfg(
    prim_path="{ENV_REGEX_NS}/Robot",
    spawn=sim_utils.UsdFileCfg(
        usd_path=str(Path(__file__).parent / "usd" / "franka.usda"),
        articulation_props=[
            NewtonArticulationCfg(self_collision_enabled=False),
            # PhysX's own default is 32 iterations, a quarter of which hold a cube as well
            PhysxArticulationCfg(enabled_self_collisions=False, solver_position_iteration_count=8),
        ],
        # Each engine has its own switch for "this body does not feel gravity": MuJoCo's compensation and PhysX's flag.
        rigid_props=[MujocoRigidBodyCfg(gravcomp=1.0), PhysxRigidBodyCfg(disable_gravity=True)],
        # The converter writes joints without drives. PhysX drops actuator gains on a joint that has none and the arm
        # collapses without a word; Newton does not care. The actuators below overwrite these gains.
        joint_drive_props=[
            sim_utils.UsdPhysicsDriveCfg(drive_type="force", stiffness=_ARM_STIFFNESS, damping=_ARM_DAMPING)
        ],
        joint_drive_props_create_if_missing=True,
    ),
    init_state=ArticulationCfg.InitialStateCfg(joint_pos=FRANKA_HOME),
    actuators={
        "arm": ImplicitActuatorCfg(
            joint_names_expr=["panda_joint[1-7]"],
            joint_effort_limit={"panda_joint[1-4]": 87.0, "panda_joint[5-7]": 60.0},
            # What Franka publishes for the real arm [rad/s]. The servo keeps to it; the solver clamps nothing.
            actuator_velocity_limit={"panda_joint[1-4]": 2.175, "panda_joint[5-7]": 2.61},
            stiffness=_ARM_STIFFNESS,
            damping=_ARM_DAMPING,
            armature=0.2,
        ),
        # Soft fingers: stiffer ones press a cube out of the grasp.
        "fingers": ImplicitActuatorCfg(
            joint_names_expr=["panda_finger_joint.*"],
            joint_effort_limit=70.0,
            stiffness=200.0,
            damping=30.0,
            armature=0.1,
        ),
    },
)
"""The arm at the env origin, facing +x, with position-controlled joints.

Joints, in order: ``panda_joint1``…``panda_joint7`` [rad], ``panda_finger_joint1``, ``panda_finger_joint2`` [m].
"""
