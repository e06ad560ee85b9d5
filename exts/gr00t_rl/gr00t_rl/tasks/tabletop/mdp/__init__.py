# SPDX-License-Identifier: BSD-3-Clause
"""Terms that the tabletop families share, on top of Isaac Lab's own."""

from isaaclab.envs.mdp import action_rate_l2, time_out

from .events import reset_arm
from .goal import goal_position, place_at_rest, set_goal
from .images import decision_image
from .objects import object_position, object_speed, object_yaw
from .observations import (
    goal,
    joint_positions,
    joint_velocities,
    object_pose,
    object_to_goal,
    object_velocity,
    remaining_time,
    set_point_offset,
    tcp_state,
    tcp_to_goal,
    tcp_to_object,
)
from .rewards import progress, success_bonus
from .sampling import env_index, start_rand, start_uniform
from .terminations import held_success

__all__ = [
    "action_rate_l2",
    "decision_image",
    "env_index",
    "goal",
    "goal_position",
    "held_success",
    "joint_positions",
    "joint_velocities",
    "object_pose",
    "object_position",
    "object_speed",
    "object_to_goal",
    "object_velocity",
    "object_yaw",
    "place_at_rest",
    "progress",
    "remaining_time",
    "reset_arm",
    "set_goal",
    "set_point_offset",
    "start_rand",
    "start_uniform",
    "success_bonus",
    "tcp_state",
    "tcp_to_goal",
    "tcp_to_object",
    "time_out",
]
