# SPDX-License-Identifier: BSD-3-Clause
"""The tasks. Importing this package registers their gym IDs and nothing else: cfgs load when a task is asked for."""

from .push.config import franka as _push_franka
from .reach.config import franka as _reach_franka
