# SPDX-License-Identifier: BSD-3-Clause
"""Terms of the Pick-Place task, on top of the shared ones."""

from gr00t_rl.tasks.tabletop.mdp import *

from .events import reset_layout
from .task import cube_distance, goal_distance, grasp_missing, is_success, stage_distance
