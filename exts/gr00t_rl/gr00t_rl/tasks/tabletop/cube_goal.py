# SPDX-License-Identifier: BSD-3-Clause
"""What tasks that bring one cube to a goal have in common: scene, observations and endings."""

from isaaclab.assets import RigidObjectCfg
from isaaclab.managers import ObservationGroupCfg, ObservationTermCfg, TerminationTermCfg
from isaaclab.utils import configclass

from gr00t_rl.assets import cube_cfg

from . import mdp
from .env_cfg import ProprioceptionCfg, TabletopCameraObservationsCfg, TabletopObservationsCfg
from .scene import RED, TabletopSceneCfg

CUBE = {"name": "cube"}

AREA = {"lower": (0.22, -0.42), "upper": (0.78, 0.42), "min_height": -0.02}
"""Where a cube is within reach [m]; elsewhere it is lost."""


@configclass
class CubeSceneCfg(TabletopSceneCfg):
    """The table with a red cube."""

    cube: RigidObjectCfg = cube_cfg("Cube", RED)


@configclass
class StateCfg(ProprioceptionCfg):
    """Proprioception, the cube and the goal [N, 33]."""

    cube_pose = ObservationTermCfg(func=mdp.object_pose, params=CUBE)
    tcp_to_cube = ObservationTermCfg(func=mdp.tcp_to_object, params=CUBE)
    goal = ObservationTermCfg(func=mdp.goal)
    cube_to_goal = ObservationTermCfg(func=mdp.object_to_goal, params=CUBE)


@configclass
class CriticCfg(StateCfg):
    """The state, velocities and the time left [N, 49]."""

    joint_velocities = ObservationTermCfg(func=mdp.joint_velocities)
    cube_velocity = ObservationTermCfg(func=mdp.object_velocity, params=CUBE)
    remaining_time = ObservationTermCfg(func=mdp.remaining_time)


@configclass
class ObservationsCfg(TabletopObservationsCfg):
    """The policy knows the state."""

    policy: ObservationGroupCfg = StateCfg()
    critic: ObservationGroupCfg = CriticCfg()


@configclass
class CameraObservationsCfg(TabletopCameraObservationsCfg):
    """The policy sees cube and goal only in the pictures."""

    critic: ObservationGroupCfg = CriticCfg()


@configclass
class CubeTerminationsCfg:
    """The cube is out of reach, or the time is up. Tasks add what success is."""

    cube_lost = TerminationTermCfg(func=mdp.object_lost, params={**CUBE, **AREA})
    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)
