# SPDX-License-Identifier: BSD-3-Clause
"""Reinforcement learning of GR00T N1.5 and N1.7 policies in Isaac Lab through rsl_rl.

Importing the package makes its classes known to rsl_rl by bare name (``class_name: "Gr00tActor"``); it imports
none of Isaac Lab, rsl_rl, torch and transformers.
"""

from .utils.registration import register_with_rsl_rl

__version__ = "0.1.0"

register_with_rsl_rl()
