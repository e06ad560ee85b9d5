# SPDX-License-Identifier: BSD-3-Clause
"""Pick-Place with the Franka arm: state and camera variants."""

import isaaclab.sim as sim_utils
from isaaclab.managers import EventTermCfg, RewardTermCfg, TerminationTermCfg
from isaaclab.utils import configclass
from isaaclab_tasks.utils import PresetCfg

from gr00t_rl.tasks.tabletop.cube_goal import CameraObservationsCfg, CubeSceneCfg, CubeTerminationsCfg, ObservationsCfg
from gr00t_rl.tasks.tabletop.env_cfg import (
    CurriculumPresetCfg,
    TabletopEnvCfg,
    TabletopEventsCfg,
    TabletopRewardsCfg,
    success_only,
)
from gr00t_rl.tasks.tabletop.physics import GRASP_DT, STEP_DT, ContactPhysicsCfg
from gr00t_rl.tasks.tabletop.scene import goal_marker_cfg

from ... import mdp


@configclass
class EventsCfg(TabletopEventsCfg):
    """The cube on the table, the goal 15 to 30 cm over the table; over the cube where a curriculum begins."""

    reset_layout = EventTermCfg(
        func=mdp.reset_layout,
        mode="reset",
        params={"lower": (0.38, -0.22, 0.15), "upper": (0.6, 0.22, 0.3), "max_yaw": 0.78, "easy_share": 0.2},
    )


@configclass
class RewardsCfg(TabletopRewardsCfg):
    """0.5 per metre the TCP gains on the cube, 0.25 for the grasp, 2 per metre the cube gains, 1 for success.

    All but the bonus telescope, so an idle episode earns nothing and a solved one about 2: a grasp that is let go of
    pays back what it earned, and waiting never pays.
    """

    approach = RewardTermCfg(func=mdp.progress, weight=0.5 / STEP_DT, params={"distance": mdp.cube_distance})
    grasp = RewardTermCfg(func=mdp.progress, weight=0.25 / STEP_DT, params={"distance": mdp.grasp_missing})
    progress = RewardTermCfg(func=mdp.progress, weight=2.0 / STEP_DT, params={"distance": mdp.goal_distance})
    distance = RewardTermCfg(func=mdp.stage_distance, weight=0.0)


@configclass
class RewardsPresetCfg(PresetCfg):
    """``env.rewards=dense`` (default) or ``sparse``: 1 for success and nothing else."""

    dense: RewardsCfg = RewardsCfg()
    sparse: RewardsCfg = success_only(RewardsCfg())
    default: RewardsCfg = RewardsCfg()


@configclass
class TerminationsCfg(CubeTerminationsCfg):
    """The cube is within 5 cm of the goal for half a second, is out of reach, or the time is up."""

    success = TerminationTermCfg(func=mdp.held_success, params={"test": mdp.is_success, "hold_s": 0.5})


@configclass
class PickPlaceCubeFrankaEnvCfg(TabletopEnvCfg):
    """Carry the cube to the goal from state observations."""

    scene: CubeSceneCfg = CubeSceneCfg(num_envs=256, env_spacing=2.5)
    observations: object = ObservationsCfg()
    events: EventsCfg = EventsCfg()
    rewards: RewardsPresetCfg = RewardsPresetCfg()
    terminations: TerminationsCfg = TerminationsCfg()
    curriculum: CurriculumPresetCfg = CurriculumPresetCfg()
    instruction: str = "pick up the red cube and bring it to the green ball"
    instructions: list[str] = [
        "pick up the red cube and bring it to the green ball",
        "grasp the red block and carry it to the green sphere",
        "lift the red cube to the green ball",
        "take the red cube and hold it where the green ball floats",
    ]

    def __post_init__(self):
        super().__post_init__()
        self.episode_length_s = 8.0
        self.set_physics(ContactPhysicsCfg(), GRASP_DT)

    def show_goal(self):
        """Add the ball that marks the goal."""
        self.scene.goal_marker = goal_marker_cfg(sim_utils.SphereCfg(radius=0.035))

    def play_mode(self):
        super().play_mode()
        self.show_goal()


@configclass
class PickPlaceCubeFrankaCameraEnvCfg(PickPlaceCubeFrankaEnvCfg):
    """Carry the red cube to the green ball seen by both cameras."""

    observations: object = CameraObservationsCfg()

    def __post_init__(self):
        super().__post_init__()
        self.show_goal()
        self.add_cameras()
