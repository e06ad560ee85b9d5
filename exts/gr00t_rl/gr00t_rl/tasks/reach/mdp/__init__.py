# SPDX-License-Identifier: BSD-3-Clause
"""Terms of the Reach task, on top of the shared ones."""

from gr00t_rl.tasks.tabletop.mdp import *

from .events import reset_goal
from .task import goal_distance, is_success
