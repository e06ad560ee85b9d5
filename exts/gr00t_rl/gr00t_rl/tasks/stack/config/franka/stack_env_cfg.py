# SPDX-License-Identifier: BSD-3-Clause
"""Stack with the Franka arm: state and camera variants."""

from isaaclab.assets import RigidObjectCfg
from isaaclab.managers import (
    EventTermCfg,
    ObservationGroupCfg,
    ObservationTermCfg,
    RewardTermCfg,
    TerminationTermCfg,
)
from isaaclab.utils import configclass
from isaaclab_tasks.utils import PresetCfg

from gr00t_rl.assets import cube_cfg
from gr00t_rl.tasks.tabletop.cube_goal import AREA, CUBE
from gr00t_rl.tasks.tabletop.env_cfg import (
    CurriculumPresetCfg,
    ProprioceptionCfg,
    TabletopCameraObservationsCfg,
    TabletopEnvCfg,
    TabletopEventsCfg,
    TabletopObservationsCfg,
    TabletopRewardsCfg,
    success_only,
)
from gr00t_rl.tasks.tabletop.physics import GRASP_DT, STEP_DT, TwoCubePhysicsCfg
from gr00t_rl.tasks.tabletop.scene import BLUE, RED, TabletopSceneCfg

from ... import mdp

BASE = {"name": "base_cube"}


@configclass
class StackSceneCfg(TabletopSceneCfg):
    """The table with a red and a blue cube."""

    cube: RigidObjectCfg = cube_cfg("Cube", RED)
    base_cube: RigidObjectCfg = cube_cfg("BaseCube", BLUE)


@configclass
class StateCfg(ProprioceptionCfg):
    """Proprioception and the cubes [N, 35]."""

    cube_pose = ObservationTermCfg(func=mdp.object_pose, params=CUBE)
    tcp_to_cube = ObservationTermCfg(func=mdp.tcp_to_object, params=CUBE)
    base_pose = ObservationTermCfg(func=mdp.object_pose, params=BASE)
    cube_to_base = ObservationTermCfg(func=mdp.object_to_object, params={**CUBE, "other": "base_cube"})


@configclass
class CriticCfg(StateCfg):
    """The state, velocities and the time left [N, 57]."""

    joint_velocities = ObservationTermCfg(func=mdp.joint_velocities)
    cube_velocity = ObservationTermCfg(func=mdp.object_velocity, params=CUBE)
    base_velocity = ObservationTermCfg(func=mdp.object_velocity, params=BASE)
    remaining_time = ObservationTermCfg(func=mdp.remaining_time)


@configclass
class ObservationsCfg(TabletopObservationsCfg):
    """The policy knows the state."""

    policy: ObservationGroupCfg = StateCfg()
    critic: ObservationGroupCfg = CriticCfg()


@configclass
class CameraObservationsCfg(TabletopCameraObservationsCfg):
    """The policy sees the cubes only in the pictures."""

    critic: ObservationGroupCfg = CriticCfg()


@configclass
class EventsCfg(TabletopEventsCfg):
    """The cubes 10 to 30 cm apart on the table, 10 to 20 cm where a curriculum begins."""

    reset_layout = EventTermCfg(
        func=mdp.reset_layout,
        mode="reset",
        params={
            "lower": (0.38, -0.22),
            "upper": (0.6, 0.22),
            "max_yaw": 0.78,
            "distance": (0.1, 0.3),
            "easy_distance": (0.1, 0.2),
        },
    )


@configclass
class RewardsCfg(TabletopRewardsCfg):
    """0.5 per metre the TCP gains on the red cube, 0.25 for the grasp, 2 per metre the cube gains on its place,
    0.25 for letting go of it there, 1 for success.

    All but the bonus telescope, so an idle episode earns nothing and a solved one about 2: a grasp that is lost before
    the cube is stacked pays back what it earned, and waiting never pays.
    """

    approach = RewardTermCfg(func=mdp.progress, weight=0.5 / STEP_DT, params={"distance": mdp.cube_distance})
    grasp = RewardTermCfg(func=mdp.progress, weight=0.25 / STEP_DT, params={"distance": mdp.grasp_missing})
    progress = RewardTermCfg(func=mdp.progress, weight=2.0 / STEP_DT, params={"distance": mdp.stack_distance})
    release = RewardTermCfg(func=mdp.progress, weight=0.25 / STEP_DT, params={"distance": mdp.release_missing})
    aligned = RewardTermCfg(func=mdp.is_aligned, weight=0.0)
    height = RewardTermCfg(func=mdp.is_at_height, weight=0.0)


@configclass
class RewardsPresetCfg(PresetCfg):
    """``env.rewards=dense`` (default) or ``sparse``: 1 for success and nothing else."""

    dense: RewardsCfg = RewardsCfg()
    sparse: RewardsCfg = success_only(RewardsCfg())
    default: RewardsCfg = RewardsCfg()


@configclass
class TerminationsCfg:
    """The red cube stands on the blue one for half a second, a cube is out of reach, or the time is up."""

    success = TerminationTermCfg(func=mdp.held_success, params={"test": mdp.is_success, "hold_s": 0.5})
    cube_lost = TerminationTermCfg(func=mdp.object_lost, params={**CUBE, **AREA})
    base_cube_lost = TerminationTermCfg(func=mdp.object_lost, params={**BASE, **AREA})
    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)


@configclass
class StackCubeFrankaEnvCfg(TabletopEnvCfg):
    """Stack the cubes from state observations."""

    scene: StackSceneCfg = StackSceneCfg(num_envs=256, env_spacing=2.5)
    observations: object = ObservationsCfg()
    events: EventsCfg = EventsCfg()
    rewards: RewardsPresetCfg = RewardsPresetCfg()
    terminations: TerminationsCfg = TerminationsCfg()
    curriculum: CurriculumPresetCfg = CurriculumPresetCfg()
    instruction: str = "put the red cube on the blue cube"
    instructions: list[str] = [
        "put the red cube on the blue cube",
        "stack the red block on top of the blue block",
        "place the red cube onto the blue one and let go",
        "build a tower with the blue cube below and the red cube above",
    ]

    def __post_init__(self):
        super().__post_init__()
        self.episode_length_s = 10.0
        self.set_physics(TwoCubePhysicsCfg(), GRASP_DT)


@configclass
class StackCubeFrankaCameraEnvCfg(StackCubeFrankaEnvCfg):
    """Stack the cubes seen by both cameras."""

    observations: object = CameraObservationsCfg()

    def __post_init__(self):
        super().__post_init__()
        self.add_cameras()
