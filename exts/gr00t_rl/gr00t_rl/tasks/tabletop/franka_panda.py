# SPDX-License-Identifier: BSD-3-Clause
"""Isaac Lab's own Panda for the tabletop tasks. Its files come from NVIDIA's asset server when it is spawned.

It has the names, the link frames and the tool centre point of the arm that we build. What differs, by Isaac Lab's cfgs:

- one finger is driven, and the other follows it by a mimic constraint;
- a variant of its physics per engine;
- torque limits of 12 N m on the joints of the forearm;
- the gravity that it feels.

Not tried with the files: they are not to be had offline.
"""

import isaaclab.sim as sim_utils
from isaaclab.assets import ArticulationCfg
from isaaclab.utils import clone, configclass, replace
from isaaclab_assets.robots.franka import FRANKA_MINIMAL_CFG
from isaaclab_newton.sim.schemas import MujocoRigidBodyCfg
from isaaclab_physx.sim.schemas import PhysxRigidBodyCfg
from isaaclab_tasks.utils import PresetCfg, preset

from gr00t_rl.assets import FRANKA_HOME, FRANKA_PRIMITIVE_CFG

PASSIVE_FINGER = "panda_finger2_passive"
"""Actuator group of Isaac Lab's arm, which ours does not have."""

_MINIMAL: ArticulationCfg = clone(FRANKA_MINIMAL_CFG)  # only palm and fingers collide, as with our arm
_spawn: sim_utils.UsdFileCfg = _MINIMAL.spawn  # type: ignore[assignment]

FRANKA_PANDA_TABLETOP_CFG: ArticulationCfg = replace(
    _MINIMAL,
    prim_path="{ENV_REGEX_NS}/Robot",
    spawn=replace(
        _spawn,
        variants={
            **_spawn.variants,  # type: ignore[dict-item]
            "Physics": preset(default="mujoco", isaacsim_physx="physx", physx="physx", ovphysx="physx"),
        },
        # as in Isaac Lab's Reach with inverse kinematics: a set-point is held only without gravity
        rigid_props=[
            MujocoRigidBodyCfg(gravcomp=1.0),
            PhysxRigidBodyCfg(disable_gravity=True, max_depenetration_velocity=5.0),
        ],
    ),
    init_state=ArticulationCfg.InitialStateCfg(joint_pos=FRANKA_HOME),
    # the drives with which Isaac Lab's Lift moves this arm; its asset has its own where these say nothing
    actuators={
        "panda_arm": replace(
            _MINIMAL.actuators["panda_arm"],
            actuator_velocity_limit={"panda_joint[1-4]": 2.175, "panda_joint[5-7]": 2.61},
            stiffness={"panda_joint[1-4]": 600.0, "panda_joint5": 250.0, "panda_joint6": 150.0, "panda_joint7": 50.0},
            damping={"panda_joint[1-4]": 50.0, "panda_joint5": 30.0, "panda_joint6": 25.0, "panda_joint7": 15.0},
            armature={"panda_joint[1-2]": 0.6057, "panda_joint[3-4]": 0.4625, "panda_joint[5-7]": 0.2055},
        ),
        "panda_hand": replace(
            _MINIMAL.actuators["panda_hand"], joint_effort_limit=70.0, stiffness=350.0, damping=175.0, armature=0.1
        ),
        PASSIVE_FINGER: replace(_MINIMAL.actuators[PASSIVE_FINGER], joint_effort_limit=1.0, armature=0.1),
    },
)
"""Isaac Lab's Panda at the env origin, facing +x: joints and home position are those of ``FRANKA_PRIMITIVE_CFG``."""


@configclass
class RobotCfg(PresetCfg):
    """``env.scene.robot=primitive`` (default) or ``franka_panda``: Isaac Lab's own, whose files are on a server."""

    primitive: ArticulationCfg = FRANKA_PRIMITIVE_CFG
    franka_panda: ArticulationCfg = FRANKA_PANDA_TABLETOP_CFG
    default: ArticulationCfg = FRANKA_PRIMITIVE_CFG
