# SPDX-License-Identifier: BSD-3-Clause
"""Push with the Franka arm: state and camera variants."""

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
from gr00t_rl.tasks.tabletop.physics import CONTACT_DT, STEP_DT, ContactPhysicsCfg
from gr00t_rl.tasks.tabletop.scene import goal_marker_cfg

from ... import mdp


@configclass
class EventsCfg(TabletopEventsCfg):
    """Cube and goal 10 to 30 cm apart on the table, 7 to 12 cm where a curriculum begins."""

    reset_layout = EventTermCfg(
        func=mdp.reset_layout,
        mode="reset",
        params={
            "lower": (0.38, -0.22),
            "upper": (0.6, 0.22),
            "max_yaw": 0.78,
            "distance": (0.1, 0.3),
            "easy_distance": (0.07, 0.12),
        },
    )


@configclass
class RewardsCfg(TabletopRewardsCfg):
    """2 per metre the cube gains, 0.5 per metre the TCP gains on the place to push from, 1 for success.

    Both progress terms telescope, so an idle episode earns nothing and a solved one about 1.5: the bonus is worth
    more the sooner it comes (discounting), and waiting never pays.
    """

    progress = RewardTermCfg(func=mdp.progress, weight=2.0 / STEP_DT, params={"distance": mdp.goal_distance})
    approach = RewardTermCfg(func=mdp.progress, weight=0.5 / STEP_DT, params={"distance": mdp.approach_distance})
    distance = RewardTermCfg(func=mdp.goal_distance, weight=0.0)


@configclass
class RewardsPresetCfg(PresetCfg):
    """``env.rewards=dense`` (default) or ``sparse``: 1 for success and nothing else."""

    dense: RewardsCfg = RewardsCfg()
    sparse: RewardsCfg = success_only(RewardsCfg())
    default: RewardsCfg = RewardsCfg()


@configclass
class TerminationsCfg(CubeTerminationsCfg):
    """The cube rests within 5 cm of the goal for half a second, is out of reach, or the time is up."""

    success = TerminationTermCfg(func=mdp.held_success, params={"test": mdp.is_success, "hold_s": 0.5})


@configclass
class PushCubeFrankaEnvCfg(TabletopEnvCfg):
    """Push the cube to the goal from state observations."""

    scene: CubeSceneCfg = CubeSceneCfg(num_envs=256, env_spacing=2.5)
    observations: object = ObservationsCfg()
    events: EventsCfg = EventsCfg()
    rewards: RewardsPresetCfg = RewardsPresetCfg()
    terminations: TerminationsCfg = TerminationsCfg()
    curriculum: CurriculumPresetCfg = CurriculumPresetCfg()
    instruction: str = "push the red cube to the green target"
    instructions: list[str] = [
        "push the red cube to the green target",
        "slide the red block onto the green disc",
        "move the red cube to the green circle",
        "shove the red cube across the table until it rests on the green spot",
    ]

    def __post_init__(self):
        super().__post_init__()
        self.episode_length_s = 8.0
        self.set_physics(ContactPhysicsCfg(), CONTACT_DT)

    def show_goal(self):
        """Add the disc that marks the goal: as wide as the success radius, flat on the table."""
        self.scene.goal_marker = goal_marker_cfg(sim_utils.CylinderCfg(radius=0.05, height=0.004))

    def play_mode(self):
        super().play_mode()
        self.show_goal()


@configclass
class PushCubeFrankaCameraEnvCfg(PushCubeFrankaEnvCfg):
    """Push the red cube to the green target seen by both cameras."""

    observations: object = CameraObservationsCfg()

    def __post_init__(self):
        super().__post_init__()
        self.show_goal()
        self.add_cameras()
