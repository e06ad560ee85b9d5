# SPDX-License-Identifier: BSD-3-Clause
"""Reach with the Franka arm: state and camera variants."""

import isaaclab.sim as sim_utils
from isaaclab.managers import (
    EventTermCfg,
    ObservationGroupCfg,
    ObservationTermCfg,
    RewardTermCfg,
    TerminationTermCfg,
)
from isaaclab.utils import configclass
from isaaclab_tasks.utils import PresetCfg

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
from gr00t_rl.tasks.tabletop.physics import FREE_SPACE_DT, STEP_DT, FreeSpacePhysicsCfg
from gr00t_rl.tasks.tabletop.scene import TabletopSceneCfg, goal_marker_cfg

from ... import mdp


@configclass
class StateCfg(ProprioceptionCfg):
    """Proprioception and the goal [N, 25]."""

    goal = ObservationTermCfg(func=mdp.goal)
    tcp_to_goal = ObservationTermCfg(func=mdp.tcp_to_goal)


@configclass
class CriticCfg(StateCfg):
    """The state, velocities and the time left [N, 35]."""

    joint_velocities = ObservationTermCfg(func=mdp.joint_velocities)
    remaining_time = ObservationTermCfg(func=mdp.remaining_time)


@configclass
class ObservationsCfg(TabletopObservationsCfg):
    """The policy knows the state."""

    policy: ObservationGroupCfg = StateCfg()
    critic: ObservationGroupCfg = CriticCfg()


@configclass
class CameraObservationsCfg(TabletopCameraObservationsCfg):
    """The policy sees the goal only in the pictures."""

    critic: ObservationGroupCfg = CriticCfg()


@configclass
class EventsCfg(TabletopEventsCfg):
    """A goal in the space over the table; where a curriculum begins, in the 35 % of it nearest to the arm's start."""

    reset_goal = EventTermCfg(
        func=mdp.reset_goal,
        mode="reset",
        params={
            "lower": (0.35, -0.25, 0.1),
            "upper": (0.65, 0.25, 0.4),
            "start": (0.45, 0.0, 0.25),
            "easy_share": 0.35,
        },
    )


@configclass
class RewardsCfg(TabletopRewardsCfg):
    """2 per metre gained, 0.025 per step and metre of distance lost, 1 for success.

    A typical episode starts 0.25 m away: success pays about 1.5 - 0.05; waiting for the time-out costs about 0.4.
    """

    progress = RewardTermCfg(func=mdp.progress, weight=2.0 / STEP_DT, params={"distance": mdp.goal_distance})
    distance = RewardTermCfg(func=mdp.goal_distance, weight=-0.5)


@configclass
class RewardsPresetCfg(PresetCfg):
    """``env.rewards=dense`` (default) or ``sparse``: 1 for success and nothing else."""

    dense: RewardsCfg = RewardsCfg()
    sparse: RewardsCfg = success_only(RewardsCfg())
    default: RewardsCfg = RewardsCfg()


@configclass
class TerminationsCfg:
    """The TCP within 3 cm of the goal for a quarter of a second, or the time is up."""

    success = TerminationTermCfg(func=mdp.held_success, params={"test": mdp.is_success, "hold_s": 0.25})
    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)


@configclass
class ReachFrankaEnvCfg(TabletopEnvCfg):
    """Reach a goal in free space from state observations."""

    scene: TabletopSceneCfg = TabletopSceneCfg(num_envs=256, env_spacing=2.5)
    observations: object = ObservationsCfg()
    events: EventsCfg = EventsCfg()
    rewards: RewardsPresetCfg = RewardsPresetCfg()
    terminations: TerminationsCfg = TerminationsCfg()
    curriculum: CurriculumPresetCfg = CurriculumPresetCfg()
    instruction: str = "reach the green ball"
    instructions: list[str] = [
        "reach the green ball",
        "move the gripper to the green ball",
        "touch the green sphere",
        "bring the hand to where the green ball floats",
    ]

    def __post_init__(self):
        super().__post_init__()
        self.episode_length_s = 3.0
        self.set_physics(FreeSpacePhysicsCfg(), FREE_SPACE_DT)

    def show_goal(self):
        """Add the ball that marks the goal."""
        self.scene.goal_marker = goal_marker_cfg(sim_utils.SphereCfg(radius=0.035))

    def play_mode(self):
        super().play_mode()
        self.show_goal()


@configclass
class ReachFrankaCameraEnvCfg(ReachFrankaEnvCfg):
    """Reach the green ball seen by both cameras."""

    observations: object = CameraObservationsCfg()

    def __post_init__(self):
        super().__post_init__()
        self.show_goal()
        self.add_cameras()
        self.scene.num_envs = 64  # pictures cost time and memory
