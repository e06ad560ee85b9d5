# SPDX-License-Identifier: BSD-3-Clause
"""Cubes with the Franka arm: state and camera variants."""

import isaaclab.sim as sim_utils
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
from gr00t_rl.tasks.tabletop import cube_goal
from gr00t_rl.tasks.tabletop.cube_goal import AREA, CUBE, CubeSceneCfg, CubeTerminationsCfg
from gr00t_rl.tasks.tabletop.env_cfg import (
    CurriculumPresetCfg,
    TabletopCameraObservationsCfg,
    TabletopEnvCfg,
    TabletopEventsCfg,
    TabletopObservationsCfg,
    TabletopRewardsCfg,
    success_only,
)
from gr00t_rl.tasks.tabletop.physics import GRASP_DT, STEP_DT, TwoCubePhysicsCfg
from gr00t_rl.tasks.tabletop.scene import BLUE, goal_marker_cfg

from ... import mdp

BASE = {"name": "base_cube"}


@configclass
class CubesSceneCfg(CubeSceneCfg):
    """The table with a red and a blue cube."""

    base_cube: RigidObjectCfg = cube_cfg("BaseCube", BLUE)


@configclass
class StateCfg(cube_goal.StateCfg):
    """Proprioception, the cubes and the goal, and last the task's number, which GR00T agents do not read [N, 44]."""

    base_pose = ObservationTermCfg(func=mdp.object_pose, params=BASE)
    cube_to_base = ObservationTermCfg(func=mdp.object_to_object, params={**CUBE, "other": "base_cube"})
    task = ObservationTermCfg(func=mdp.task_one_hot)


@configclass
class CriticCfg(StateCfg):
    """The state, velocities and the time left [N, 66]."""

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
    """The policy sees cubes and goal only in the pictures, and is told the task only by the instruction."""

    critic: ObservationGroupCfg = CriticCfg()


@configclass
class EventsCfg(TabletopEventsCfg):
    """Cubes and goal 10 to 30 cm from the red cube; nearer where a curriculum begins.

    The instruction, on which the goal's height depends, is drawn before: it comes first among the terms.
    """

    reset_layout = EventTermCfg(
        func=mdp.reset_layout,
        mode="reset",
        params={
            "lower": (0.38, -0.22),
            "upper": (0.6, 0.22),
            "heights": (0.15, 0.3),
            "max_yaw": 0.78,
            "goal_distance": (0.1, 0.3),
            "easy_goal_distance": (0.07, 0.12),
            "base_distance": (0.1, 0.3),
            "easy_base_distance": (0.1, 0.2),
            "clearance": 0.08,
        },
    )


@configclass
class RewardsCfg(TabletopRewardsCfg):
    """What Push, Pick-Place and Stack pay, in every env by its instruction; see their cfgs.

    All but the bonus telescope: an idle episode earns nothing, a solved one about 1.5 (Push) or 2, and waiting never
    pays.
    """

    approach = RewardTermCfg(func=mdp.progress, weight=0.5 / STEP_DT, params={"distance": mdp.approach_distance})
    grasp = RewardTermCfg(func=mdp.progress, weight=0.25 / STEP_DT, params={"distance": mdp.grasp_missing})
    progress = RewardTermCfg(func=mdp.progress, weight=2.0 / STEP_DT, params={"distance": mdp.goal_distance})
    release = RewardTermCfg(func=mdp.progress, weight=0.25 / STEP_DT, params={"distance": mdp.release_missing})


@configclass
class RewardsPresetCfg(PresetCfg):
    """``env.rewards=dense`` (default) or ``sparse``: 1 for success and nothing else."""

    dense: RewardsCfg = RewardsCfg()
    sparse: RewardsCfg = success_only(RewardsCfg())
    default: RewardsCfg = RewardsCfg()


@configclass
class TerminationsCfg(CubeTerminationsCfg):
    """What the instruction asks for has been so for half a second, a cube is out of reach, or the time is up."""

    base_cube_lost = TerminationTermCfg(func=mdp.object_lost, params={**BASE, **AREA})
    success = TerminationTermCfg(func=mdp.held_success, params={"test": mdp.is_success, "hold_s": 0.5})


@configclass
class CubesFrankaEnvCfg(TabletopEnvCfg):
    """Push, pick and place or stack, as the instruction says, from state observations."""

    scene: CubesSceneCfg = CubesSceneCfg(num_envs=256, env_spacing=2.5)
    observations: object = ObservationsCfg()
    events: EventsCfg = EventsCfg()
    rewards: RewardsPresetCfg = RewardsPresetCfg()
    terminations: TerminationsCfg = TerminationsCfg()
    curriculum: CurriculumPresetCfg = CurriculumPresetCfg()
    instruction: str = "push the red cube to the green ball"
    instructions: list[str] = [
        "push the red cube to the green ball",
        "pick up the red cube and bring it to the green ball",
        "put the red cube on the blue cube",
    ]
    sample_instructions: bool = True

    def __post_init__(self):
        super().__post_init__()
        self.episode_length_s = 10.0  # a second attempt to stack fits in
        self.set_physics(TwoCubePhysicsCfg(), GRASP_DT)

    def instruction_names(self) -> list[str]:
        return list(mdp.TASKS)

    def show_goal(self):
        """Add the ball that marks the goal, half sunk into the table where its centre lies on it."""
        self.scene.goal_marker = goal_marker_cfg(sim_utils.SphereCfg(radius=0.035))

    def play_mode(self):
        super().play_mode()
        self.show_goal()


@configclass
class CubesFrankaCameraEnvCfg(CubesFrankaEnvCfg):
    """The same seen by both cameras."""

    observations: object = CameraObservationsCfg()

    def __post_init__(self):
        super().__post_init__()
        self.show_goal()
        self.add_cameras()
