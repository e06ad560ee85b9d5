# SPDX-License-Identifier: BSD-3-Clause
"""Cubes to push, lift and stack."""

import isaaclab.sim as sim_utils
from isaaclab.assets import RigidObjectCfg
from isaaclab.sim.spawners.materials import RigidBodyMaterialBaseCfg
from isaaclab_newton.sim.schemas import MujocoCollisionCfg

CUBE_SIZE = 0.045
"""Edge of the cubes [m]: fits the 8 cm gripper with room to spare."""


def cube_cfg(name: str, color: tuple[float, float, float]) -> RigidObjectCfg:
    """A wooden-block-like cube: 4.5 cm, 80 g, friction 0.5.

    Args:
        name: Prim name below the env namespace.
        color: Linear RGB in [0, 1].
    """
    return RigidObjectCfg(
        prim_path="{ENV_REGEX_NS}/" + name,
        init_state=RigidObjectCfg.InitialStateCfg(pos=(0.5, 0.0, CUBE_SIZE / 2)),
        spawn=sim_utils.CuboidCfg(
            size=(CUBE_SIZE, CUBE_SIZE, CUBE_SIZE),
            rigid_props=sim_utils.UsdPhysicsRigidBodyCfg(),
            # A stiffer impedance than MuJoCo's default keeps the cube from being squeezed out between the fingers.
            collision_props=[
                sim_utils.UsdPhysicsCollisionCfg(),
                MujocoCollisionCfg(condim=3, solimp=(0.97, 0.99, 0.001, 0.5, 2.0)),
            ],
            mass_props=sim_utils.MassCfg(mass=0.08),
            physics_material=RigidBodyMaterialBaseCfg(static_friction=0.5, dynamic_friction=0.5),
            visual_material=sim_utils.PreviewSurfaceCfg(diffuse_color=color),
        ),
    )
