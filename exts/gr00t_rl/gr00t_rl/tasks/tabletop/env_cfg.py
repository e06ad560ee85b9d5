# SPDX-License-Identifier: BSD-3-Clause
"""The env cfg that every tabletop task starts from."""

from isaaclab.managers import CurriculumTermCfg, EventTermCfg, ObservationGroupCfg, ObservationTermCfg, RewardTermCfg
from isaaclab.physics import PhysicsCfg
from isaaclab.sensors import CameraCfg
from isaaclab.utils import configclass
from isaaclab_tasks.utils import PresetCfg

from gr00t_rl.options import CurriculumOptions, TabletopOptions, declared
from gr00t_rl.tasks.env_cfg import Gr00tEnvCfg

from . import mdp
from .actions import TabletopActionsCfg
from .franka_panda import PASSIVE_FINGER
from .physics import STEP_DT
from .scene import RendererCfg, TabletopSceneCfg, front_camera_cfg, wrist_camera_cfg

PANDA_ROWS = 48
"""Fewest rows of constraints per env for Isaac Lab's Panda under Newton."""


@configclass
class ProprioceptionCfg(ObservationGroupCfg):
    """What the robot knows of itself [N, 19]: all that a camera policy sees beside its pictures."""

    joint_positions = ObservationTermCfg(func=mdp.joint_positions)
    tcp_state = ObservationTermCfg(func=mdp.tcp_state)
    set_point_offset = ObservationTermCfg(func=mdp.set_point_offset)


@configclass
class CameraGroupCfg(ObservationGroupCfg):
    """The front camera's picture, uint8 [N, H, W, 3]."""

    image = ObservationTermCfg(func=mdp.decision_image, params={"camera": "front"})


@configclass
class WristCameraGroupCfg(ObservationGroupCfg):
    """The wrist camera's picture, uint8 [N, H, W, 3]."""

    image = ObservationTermCfg(func=mdp.decision_image, params={"camera": "wrist"})


@configclass
class TabletopObservationsCfg:
    """Groups that every task can have. Tasks add ``policy``, ``critic`` and one group per camera."""

    instruction: ObservationGroupCfg | None = None
    """Filled in by ``sample_instructions``."""


@configclass
class TabletopCameraObservationsCfg(TabletopObservationsCfg):
    """Groups of camera variants, whose policy sees the task only in the pictures. Tasks add ``critic``."""

    policy: ObservationGroupCfg = ProprioceptionCfg()
    front: ObservationGroupCfg = CameraGroupCfg()
    wrist: ObservationGroupCfg = WristCameraGroupCfg()


@configclass
class TabletopEventsCfg:
    """Starts shared by every task."""

    reset_arm = EventTermCfg(func=mdp.reset_arm, mode="reset", params={"spread": 0.05})
    reset_instruction: EventTermCfg | None = None
    """Filled in by ``sample_instructions``."""


@configclass
class TabletopRewardsCfg:
    """What every task pays: 1 for success, and two penalties. Tasks add what leads to success."""

    success = RewardTermCfg(func=mdp.success_bonus, weight=1.0 / STEP_DT)
    action_rate = RewardTermCfg(func=mdp.action_rate_l2, weight=-0.001)
    joint_limits = RewardTermCfg(func=mdp.joint_limits, weight=0.0, params={"margin": 0.1})


def success_only[R: TabletopRewardsCfg](rewards: R) -> R:
    """A copy whose weights are 0 but for success: the ``sparse`` preset. Terms of weight 0 are not computed."""
    sparse = rewards.copy()
    for name, term in vars(sparse).items():
        if name != "success":
            term.weight = 0.0
    return sparse


@configclass
class SuccessCurriculumCfg:
    """From easy to full starts in ten steps, each when 70 % of the last 256 episodes or more succeed."""

    difficulty = CurriculumTermCfg(
        func=mdp.success_curriculum, params={name: item.default for name, item in declared(CurriculumOptions).items()}
    )


@configclass
class CurriculumPresetCfg(PresetCfg):
    """``env.curriculum=on`` for tasks whose reset events know easy starts."""

    on: SuccessCurriculumCfg = SuccessCurriculumCfg()
    off: SuccessCurriculumCfg | None = None
    default: SuccessCurriculumCfg | None = None


@configclass
class TabletopEnvCfg(TabletopOptions, Gr00tEnvCfg):
    """20 Hz control of the arm over the table. Tasks add goals, observations, rewards and terminations."""

    scene: TabletopSceneCfg = TabletopSceneCfg(num_envs=128, env_spacing=2.5)
    actions: TabletopActionsCfg = TabletopActionsCfg()
    events: TabletopEventsCfg = TabletopEventsCfg()
    robot_type: str = "franka"

    def add_cameras(self):
        """Add the cameras that the groups of a camera variant read."""
        self.scene.front = front_camera_cfg(self.camera_size)
        self.scene.wrist = wrist_camera_cfg(self.camera_size)

    def film_camera(self) -> CameraCfg:
        """The camera that films a state variant: the front one, with the renderer that is chosen by default."""
        camera = front_camera_cfg()
        # presets were resolved with the command line, before this camera was there
        camera.renderer_cfg = RendererCfg().default
        return camera

    def set_physics(self, physics: PhysicsCfg | PresetCfg, dt: float):
        """Choose the physics backends and their step ``dt`` [s], a divisor of the env step."""
        self.sim.physics = physics
        self.sim.dt = dt
        self.decimation = self.sim.render_interval = round(STEP_DT / dt)

    def complete(self):
        """Apply the cameras' size, and leave the wrist camera out where it is not wanted."""
        if self.scene.wrist is not None and not self.wrist_camera:
            self.scene.wrist = self.observations.wrist = None
        for camera in (self.scene.front, self.scene.wrist):
            if camera is not None:
                camera.width = camera.height = self.camera_size
        solver = getattr(self.sim.physics, "solver_cfg", None)
        if solver is not None and PASSIVE_FINGER in self.scene.robot.actuators:
            # room for its mimic constraint, and for dry friction if its joints have some
            solver.njmax = max(solver.njmax, PANDA_ROWS)

    def play_mode(self):
        """Fewer envs and the full task; rewards, goals and terminations stay as in training."""
        super().play_mode()
        self.curriculum, self.start_group_size = None, 1
        self.scene.num_envs = min(self.scene.num_envs, 16)
