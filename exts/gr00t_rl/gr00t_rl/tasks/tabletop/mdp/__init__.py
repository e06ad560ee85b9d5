# SPDX-License-Identifier: BSD-3-Clause
"""Terms that the tabletop families share, on top of Isaac Lab's own."""

from isaaclab.envs.mdp import action_rate_l2, time_out

from .curriculum import curriculum_level, curriculum_range, curriculum_value, success_curriculum
from .events import reset_arm
from .goal import goal_position, place_at_rest, place_on_table, set_goal
from .grasp import is_grasped, is_open, tcp_distance
from .images import decision_image
from .instructions import instruction_index, reset_instruction
from .objects import object_lost, object_position, object_speed, object_yaw
from .observations import (
    goal,
    joint_positions,
    joint_velocities,
    object_pose,
    object_to_goal,
    object_to_object,
    object_velocity,
    remaining_time,
    set_point_offset,
    tcp_state,
    tcp_to_goal,
    tcp_to_object,
)
from .rewards import joint_limits, limit_proximity, progress, success_bonus
from .sampling import distance_to_way, env_index, start_apart, start_rand, start_uniform
from .terminations import held_success

__all__ = [
    "action_rate_l2",
    "curriculum_level",
    "curriculum_range",
    "curriculum_value",
    "decision_image",
    "distance_to_way",
    "env_index",
    "goal",
    "goal_position",
    "held_success",
    "instruction_index",
    "is_grasped",
    "is_open",
    "joint_limits",
    "joint_positions",
    "joint_velocities",
    "limit_proximity",
    "object_lost",
    "object_pose",
    "object_position",
    "object_speed",
    "object_to_goal",
    "object_to_object",
    "object_velocity",
    "object_yaw",
    "place_at_rest",
    "place_on_table",
    "progress",
    "remaining_time",
    "reset_arm",
    "reset_instruction",
    "set_goal",
    "set_point_offset",
    "start_apart",
    "start_rand",
    "start_uniform",
    "success_bonus",
    "success_curriculum",
    "tcp_distance",
    "tcp_state",
    "tcp_to_goal",
    "tcp_to_object",
    "time_out",
]
