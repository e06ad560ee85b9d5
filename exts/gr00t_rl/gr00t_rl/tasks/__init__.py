# SPDX-License-Identifier: BSD-3-Clause
"""The tasks. Importing this package registers their gym IDs and nothing else: cfgs load when a task is asked for."""

from .cubes.config import franka as _cubes_franka
from .pick_place.config import franka as _pick_place_franka
from .push.config import franka as _push_franka
from .reach.config import franka as _reach_franka
from .stack.config import franka as _stack_franka
