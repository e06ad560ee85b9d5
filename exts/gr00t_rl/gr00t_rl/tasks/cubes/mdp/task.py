# SPDX-License-Identifier: BSD-3-Clause
"""What Cubes is about: in every env what its instruction asks for, by the terms of Push, Pick-Place and Stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gr00t_rl.tasks.pick_place.mdp import task as pick_place
from gr00t_rl.tasks.push.mdp import task as push
from gr00t_rl.tasks.stack.mdp import task as stack
from gr00t_rl.tasks.tabletop.mdp import instruction_index

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedEnv, ManagerBasedRLEnv

TASKS = ("push", "pick_place", "stack")
"""What the instructions ask for, in the order of ``env.cfg.instructions``."""

PUSH, PICK_PLACE, STACK = range(len(TASKS))


def of_task(env: ManagerBasedEnv, *values: torch.Tensor) -> torch.Tensor:
    """Choose for every env, of one value [N] per task in the order of ``TASKS``, that of its own task [N]."""
    return torch.stack(values, dim=-1).gather(1, instruction_index(env)).squeeze(1)


def task_one_hot(env: ManagerBasedEnv) -> torch.Tensor:
    """1 for the env's task, 0 for the others [N, 3]: for networks that know no language."""
    return (instruction_index(env) == torch.arange(len(TASKS), device=env.device)).float()


def approach_distance(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Distance of the TCP from where it is needed first [N] [m]: behind the cube to push it, else at the cube."""
    cube = pick_place.cube_distance(env)
    return of_task(env, push.approach_distance(env), cube, cube)


def goal_distance(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Way that the red cube has to go [N] [m]: along the table, through the air, or over the blue cube."""
    return of_task(env, push.goal_distance(env), pick_place.goal_distance(env), stack.stack_distance(env))


def grasp_missing(env: ManagerBasedRLEnv) -> torch.Tensor:
    """1 while a grasp is needed and not there, else 0 [N]; always 0 where the cube is to be pushed."""
    missing = pick_place.grasp_missing(env)
    return of_task(env, torch.zeros_like(missing), missing, stack.grasp_missing(env))


def release_missing(env: ManagerBasedRLEnv) -> torch.Tensor:
    """1 until the stacked cube is let go of, else 0 [N]; always 0 where nothing is to be stacked."""
    missing = stack.release_missing(env)
    nothing = torch.zeros_like(missing)
    return of_task(env, nothing, nothing, missing)


def is_success(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Is what the instruction asks for done at this instant, bool [N]."""
    return of_task(env, push.is_success(env), pick_place.is_success(env), stack.is_success(env))
