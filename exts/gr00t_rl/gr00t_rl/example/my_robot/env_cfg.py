"""The task: bring the tip of the arm to the green ball, which the policy sees in two pictures."""

import isaaclab.sim as sim_utils
from isaaclab.assets import ArticulationCfg, AssetBaseCfg, RigidObjectCfg
from isaaclab.envs import mdp as lab_mdp
from isaaclab.managers import (
    EventTermCfg,
    ObservationGroupCfg,
    ObservationTermCfg,
    RewardTermCfg,
    SceneEntityCfg,
    TerminationTermCfg,
)
from isaaclab.scene import InteractiveSceneCfg
from isaaclab.sensors import CameraCfg
from isaaclab.utils import configclass

from gr00t_rl.tasks import mdp as gr00t_mdp
from gr00t_rl.tasks.cameras import RendererCfg, look_at
from gr00t_rl.tasks.env_cfg import Gr00tEnvCfg
from gr00t_rl.tasks.tabletop.physics import FreeSpacePhysicsCfg

from . import mdp
from .arm import ARM_CFG

STEP_DT = 0.05
"""Duration of an env step [s]."""


def camera_cfg(prim_path: str, eye: tuple, target: tuple, focal_length: float) -> CameraCfg:
    """A camera at ``eye`` that looks at ``target`` [m]; the smaller the focal length, the more it sees."""
    return CameraCfg(
        prim_path=prim_path,
        width=64,
        height=64,
        data_types=["rgb"],
        renderer_cfg=RendererCfg(),
        offset=CameraCfg.OffsetCfg(pos=eye, rot=look_at(eye, target), convention="world"),
        spawn=sim_utils.PinholeCameraCfg(focal_length=focal_length, clipping_range=(0.01, 5.0)),
        update_latest_camera_pose=True,
    )


@configclass
class SceneCfg(InteractiveSceneCfg):
    """The arm on a table, a ball that shows the goal, two cameras."""

    robot: ArticulationCfg = ARM_CFG
    table: AssetBaseCfg = AssetBaseCfg(
        prim_path="{ENV_REGEX_NS}/Table",
        init_state=AssetBaseCfg.InitialStateCfg(pos=(0.2, 0.0, -0.01)),
        spawn=sim_utils.CuboidCfg(
            size=(1.0, 1.4, 0.02), visual_material=sim_utils.PreviewSurfaceCfg(diffuse_color=(0.25, 0.25, 0.3))
        ),
    )
    light: AssetBaseCfg = AssetBaseCfg(prim_path="/World/Light", spawn=sim_utils.DomeLightCfg(intensity=2000.0))
    # A body that the program moves: renderers read the poses of bodies.
    goal_marker: RigidObjectCfg = RigidObjectCfg(
        prim_path="{ENV_REGEX_NS}/GoalMarker",
        spawn=sim_utils.SphereCfg(
            radius=0.05,
            rigid_props=sim_utils.UsdPhysicsRigidBodyCfg(kinematic_enabled=True),
            mass_props=sim_utils.MassCfg(mass=0.01),
            visual_material=sim_utils.PreviewSurfaceCfg(diffuse_color=(0.05, 0.75, 0.1)),
        ),
    )
    top: CameraCfg = camera_cfg("{ENV_REGEX_NS}/TopCamera", (0.9, 0.0, 0.9), (0.22, 0.0, 0.0), 21.0)
    forearm: CameraCfg = camera_cfg("{ENV_REGEX_NS}/Robot/forearm/Camera", (0.05, 0.0, 0.15), (0.3, 0.0, 0.0), 12.0)


@configclass
class PolicyCfg(ObservationGroupCfg):
    """What the robot knows of itself [N, 4], as it is measured: the modality says how the network sees it."""

    joint_angles = ObservationTermCfg(func=lab_mdp.joint_pos)
    joint_speeds = ObservationTermCfg(func=lab_mdp.joint_vel)


@configclass
class CriticCfg(PolicyCfg):
    """What the critic may know beside it [N, 7]."""

    tip_to_goal = ObservationTermCfg(func=mdp.tip_to_goal, scale=4.0)
    remaining_time = ObservationTermCfg(func=gr00t_mdp.remaining_time)


@configclass
class TopCfg(ObservationGroupCfg):
    """The fixed camera's picture, uint8 [N, 64, 64, 3]."""

    image = ObservationTermCfg(func=gr00t_mdp.decision_image, params={"camera": "top"})


@configclass
class ForearmCfg(ObservationGroupCfg):
    """The picture of the camera on the forearm, uint8 [N, 64, 64, 3]."""

    image = ObservationTermCfg(func=gr00t_mdp.decision_image, params={"camera": "forearm"})


@configclass
class ObservationsCfg:
    """A group per sense."""

    policy: ObservationGroupCfg = PolicyCfg()
    top: ObservationGroupCfg = TopCfg()
    forearm: ObservationGroupCfg = ForearmCfg()
    critic: ObservationGroupCfg = CriticCfg()


@configclass
class ActionsCfg:
    """Velocities of both joints [N, 2] [rad/s]."""

    joints = lab_mdp.JointVelocityActionCfg(asset_name="robot", joint_names=["shoulder", "elbow"])


@configclass
class EventsCfg:
    """Where episodes start."""

    reset_arm = EventTermCfg(
        func=lab_mdp.reset_joints_by_offset,
        mode="reset",
        params={
            "position_range": (-0.2, 0.2),
            "velocity_range": (0.0, 0.0),
            "asset_cfg": SceneEntityCfg("robot"),
        },
    )
    reset_goal = EventTermCfg(func=mdp.reset_goal, mode="reset", params={"radius": (0.3, 0.5), "angle": (-1.2, 1.2)})


@configclass
class RewardsCfg:
    """2 per metre gained, and 1 for success. Isaac Lab multiplies weights by the step's duration."""

    progress = RewardTermCfg(func=gr00t_mdp.progress, weight=2.0 / STEP_DT, params={"distance": mdp.goal_distance})
    success = RewardTermCfg(func=gr00t_mdp.success_bonus, weight=1.0 / STEP_DT)


@configclass
class TerminationsCfg:
    """The tip at the goal for a quarter of a second, or the time is up. ``success`` tells everybody who succeeded."""

    success = TerminationTermCfg(func=gr00t_mdp.held_success, params={"test": mdp.is_there, "hold_s": 0.25})
    time_out = TerminationTermCfg(func=lab_mdp.time_out, time_out=True)


@configclass
class ReachEnvCfg(Gr00tEnvCfg):
    """Reach the green ball."""

    scene: SceneCfg = SceneCfg(num_envs=64, env_spacing=2.5)
    observations: ObservationsCfg = ObservationsCfg()
    actions: ActionsCfg = ActionsCfg()
    events: EventsCfg = EventsCfg()
    rewards: RewardsCfg = RewardsCfg()
    terminations: TerminationsCfg = TerminationsCfg()
    instruction: str = "reach the green ball"
    robot_type: str = "my_robot"

    def __post_init__(self):
        super().__post_init__()
        self.episode_length_s = 3.0
        self.sim.physics = FreeSpacePhysicsCfg()  # nothing touches anything
        self.sim.dt = 0.025
        self.decimation = self.sim.render_interval = 2
