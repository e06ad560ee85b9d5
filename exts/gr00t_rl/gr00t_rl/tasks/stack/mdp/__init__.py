# SPDX-License-Identifier: BSD-3-Clause
"""Terms of the Stack task, on top of the shared ones."""

from gr00t_rl.tasks.tabletop.mdp import *

from .events import reset_layout
from .task import (
    cube_distance,
    grasp_missing,
    is_aligned,
    is_at_height,
    is_stacked,
    is_success,
    release_missing,
    stack_distance,
)
