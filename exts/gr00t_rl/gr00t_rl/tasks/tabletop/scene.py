# SPDX-License-Identifier: BSD-3-Clause
"""The table, the arm and the light of every tabletop task, and the cameras and goal marker that some of them add.

The env frame of each env has the robot base at its origin, x to the front, z up; the table top is the plane z = 0.
"""

import isaaclab.sim as sim_utils
from isaaclab.assets import AssetBaseCfg, RigidObjectCfg
from isaaclab.scene import InteractiveSceneCfg
from isaaclab.sensors import CameraCfg
from isaaclab.sim.spawners.materials import RigidBodyMaterialBaseCfg
from isaaclab.utils import configclass
from isaaclab_newton.sim.schemas import MujocoCollisionCfg

from gr00t_rl.tasks.cameras import RendererCfg, look_at

from .franka_panda import RobotCfg

GREEN = (0.05, 0.75, 0.1)
RED = (0.8, 0.06, 0.05)
BLUE = (0.05, 0.15, 0.8)

_HAND_PATH = "{ENV_REGEX_NS}/Robot/Geometry/" + "/".join([f"panda_link{i}" for i in range(8)]) + "/panda_hand"


def front_camera_cfg(size: int = 64) -> CameraCfg:
    """A camera in front of and above the workspace that looks back at the arm.

    Args:
        size: Height and width of the picture [px].
    """
    eye, target = (1.25, 0.0, 1.0), (0.42, 0.0, 0.16)
    return CameraCfg(
        prim_path="{ENV_REGEX_NS}/FrontCamera",
        width=size,
        height=size,
        data_types=["rgb"],
        renderer_cfg=RendererCfg(),
        offset=CameraCfg.OffsetCfg(pos=eye, rot=look_at(eye, target), convention="world"),
        spawn=sim_utils.PinholeCameraCfg(focal_length=32.0, clipping_range=(0.05, 5.0)),
    )


def wrist_camera_cfg(size: int = 64) -> CameraCfg:
    """A camera on the hand, on the side of the robot base, that looks between the finger tips and past them.

    The picture's upper edge is away from the base while the hand has no yaw.

    Args:
        size: Height and width of the picture [px].
    """
    # In a frame at the hand with z against the approach: upright while the gripper points down.
    eye, target = (-0.1, 0.0, -0.04), (0.0, 0.0, -0.12)  # just under the palm; the TCP is a little over the centre
    x, y, z, w = look_at(eye, target)
    return CameraCfg(
        prim_path=f"{_HAND_PATH}/WristCamera",
        width=size,
        height=size,
        data_types=["rgb"],
        renderer_cfg=RendererCfg(),
        # The hand's own z is the approach: half a turn about x from that frame, for positions and for the rotation.
        offset=CameraCfg.OffsetCfg(pos=(eye[0], -eye[1], -eye[2]), rot=(w, -z, y, -x), convention="world"),
        spawn=sim_utils.PinholeCameraCfg(focal_length=13.0, clipping_range=(0.01, 2.0)),
        update_latest_camera_pose=True,
    )


def goal_marker_cfg(shape: sim_utils.ShapeCfg) -> RigidObjectCfg:
    """A green shape that shows the goal to cameras and takes part in no contact.

    It is a kinematic body because every renderer reads the poses of bodies, while a bare visual prim would be frozen
    into the static scene.

    Args:
        shape: Shape without collider; its rigid-body properties and its material are filled in here.
    """
    shape.rigid_props = sim_utils.UsdPhysicsRigidBodyCfg(kinematic_enabled=True)
    shape.mass_props = sim_utils.MassCfg(mass=0.01)
    shape.visual_material = sim_utils.PreviewSurfaceCfg(diffuse_color=GREEN)
    return RigidObjectCfg(
        prim_path="{ENV_REGEX_NS}/GoalMarker",
        init_state=RigidObjectCfg.InitialStateCfg(pos=(0.5, 0.0, 0.2)),
        spawn=shape,
    )


@configclass
class TabletopSceneCfg(InteractiveSceneCfg):
    """Arm, table and light. Optional members are None until a task variant needs them."""

    robot: RobotCfg = RobotCfg()

    table: AssetBaseCfg = AssetBaseCfg(
        prim_path="{ENV_REGEX_NS}/Table",
        init_state=AssetBaseCfg.InitialStateCfg(pos=(0.4, 0.0, -0.02)),
        spawn=sim_utils.CuboidCfg(
            size=(1.2, 1.4, 0.04),
            collision_props=[sim_utils.UsdPhysicsCollisionCfg(), MujocoCollisionCfg(condim=3)],
            physics_material=RigidBodyMaterialBaseCfg(static_friction=0.5, dynamic_friction=0.5),
            visual_material=sim_utils.PreviewSurfaceCfg(diffuse_color=(0.45, 0.38, 0.3)),
        ),
    )

    light: AssetBaseCfg = AssetBaseCfg(prim_path="/World/Light", spawn=sim_utils.DomeLightCfg(intensity=2000.0))

    goal_marker: RigidObjectCfg | None = None
    """Shows the goal; only where someone looks (cameras, playback), because it costs the solver six joints."""

    front: CameraCfg | None = None
    """Third-person camera of the ``-Camera`` variants."""

    wrist: CameraCfg | None = None
    """Camera on the hand of the ``-Camera`` variants."""
