# SPDX-License-Identifier: BSD-3-Clause
"""Terms of the Push task, on top of the shared ones."""

from gr00t_rl.tasks.tabletop.mdp import *

from .events import closer_goal, reset_layout
from .task import approach_distance, goal_distance, is_success
