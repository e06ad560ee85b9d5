"""Terms of the task: where the tip and the goal are, and when one is at the other."""

import torch

from gr00t_rl.tasks.mdp import env_index, goal_position, set_goal, start_uniform

from .arm import FOREARM, HEIGHT, UPPER_ARM

SUCCESS_RADIUS = 0.04
"""Largest distance of the tip from the goal that counts as there [m]."""


def tip_position(env) -> torch.Tensor:
    """Where the end of the forearm is [N, 2] [m], env frame."""
    shoulder, elbow = env.scene["robot"].data.joint_pos.torch.unbind(dim=-1)
    first = UPPER_ARM * torch.stack((shoulder.cos(), shoulder.sin()), dim=-1)
    return first + FOREARM * torch.stack(((shoulder + elbow).cos(), (shoulder + elbow).sin()), dim=-1)


def tip_to_goal(env) -> torch.Tensor:
    """Vector from the tip to the goal [N, 2] [m]."""
    return goal_position(env)[:, :2] - tip_position(env)


def goal_distance(env) -> torch.Tensor:
    """Distance of the tip from the goal [N] [m]."""
    return tip_to_goal(env).norm(dim=-1)


def is_there(env) -> torch.Tensor:
    """Is the tip at the goal at this instant, bool [N]."""
    return goal_distance(env) < SUCCESS_RADIUS


def reset_goal(env, env_ids, radius: tuple[float, float], angle: tuple[float, float]) -> None:
    """Draw the goal: its distance from the base between ``radius`` [m], its direction between ``angle`` [rad]."""
    ids = env_index(env, env_ids)
    distance, direction = start_uniform(env, ids, (radius[0], angle[0]), (radius[1], angle[1])).unbind(dim=-1)
    height = torch.full_like(distance, HEIGHT)
    set_goal(env, ids, torch.stack((distance * direction.cos(), distance * direction.sin(), height), dim=-1))
