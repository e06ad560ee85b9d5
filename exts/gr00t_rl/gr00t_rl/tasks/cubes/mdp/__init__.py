# SPDX-License-Identifier: BSD-3-Clause
"""Terms of the Cubes task, on top of the shared ones."""

from gr00t_rl.tasks.tabletop.mdp import *

from .events import reset_layout
from .task import (
    TASKS,
    approach_distance,
    goal_distance,
    grasp_missing,
    is_success,
    of_task,
    release_missing,
    task_one_hot,
)
