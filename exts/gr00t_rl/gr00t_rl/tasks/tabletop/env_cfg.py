# SPDX-License-Identifier: BSD-3-Clause
"""The env cfg that every tabletop task starts from."""

from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.managers import EventTermCfg, ObservationGroupCfg, ObservationTermCfg
from isaaclab.physics import PhysicsCfg
from isaaclab.utils import configclass
from isaaclab_tasks.utils import PresetCfg

from gr00t_rl.preflight import check_run

from . import mdp
from .actions import TabletopActionsCfg
from .physics import STEP_DT
from .scene import TabletopSceneCfg


@configclass
class ProprioceptionCfg(ObservationGroupCfg):
    """What the robot knows of itself [N, 19]: all that a camera policy sees beside its pictures."""

    joint_positions = ObservationTermCfg(func=mdp.joint_positions)
    tcp_state = ObservationTermCfg(func=mdp.tcp_state)
    set_point_offset = ObservationTermCfg(func=mdp.set_point_offset)


@configclass
class CameraGroupCfg(ObservationGroupCfg):
    """One picture, uint8 [N, H, W, 3]."""

    image = ObservationTermCfg(func=mdp.decision_image, params={"camera": "front"})


@configclass
class TabletopEventsCfg:
    """Starts shared by every task."""

    reset_arm = EventTermCfg(func=mdp.reset_arm, mode="reset", params={"spread": 0.05})


@configclass
class TabletopEnvCfg(ManagerBasedRLEnvCfg):
    """20 Hz control of the arm over the table. Tasks add goals, observations, rewards and terminations."""

    scene: TabletopSceneCfg = TabletopSceneCfg(num_envs=128, env_spacing=2.5)
    actions: TabletopActionsCfg = TabletopActionsCfg()
    events: TabletopEventsCfg = TabletopEventsCfg()

    instruction: str = ""
    """What the language model is told to do."""

    camera_size: int = 64
    """Height and width of the pictures [px]; 224 for the released GR00T weights."""

    start_group_size: int = 1
    """Neighbouring envs that start each episode alike, as group-relative algorithms need."""

    def __post_init__(self):
        # The critic bootstraps a time-out from the state it happened in.
        self.compute_final_obs = True

    def set_physics(self, physics: PhysicsCfg | PresetCfg, dt: float):
        """Choose the physics backends and their step ``dt`` [s], a divisor of the env step."""
        self.sim.physics = physics
        self.sim.dt = dt
        self.decimation = self.sim.render_interval = round(STEP_DT / dt)

    def validate_config(self):
        """Settings that depend on others which the command line may have changed since construction."""
        check_run(self)
        if self.scene.front is not None:
            self.scene.front.width = self.scene.front.height = self.camera_size
        if self.scene.num_envs % self.start_group_size:
            raise ValueError(
                f"start_group_size {self.start_group_size} does not divide num_envs {self.scene.num_envs}: "
                "set env.scene.num_envs to a multiple of it."
            )

    def play_mode(self):
        """Fewer envs; rewards, goals and terminations stay as in training."""
        super().play_mode()
        self.scene.num_envs = min(self.scene.num_envs, 16)
