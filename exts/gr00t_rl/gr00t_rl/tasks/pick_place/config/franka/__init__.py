# SPDX-License-Identifier: BSD-3-Clause
"""Gym registration of the Pick-Place tasks."""

from gr00t_rl.tasks.registration import register_family

register_family("Gr00t-Pick-Place-Cube-Franka", __name__, "pick_place", "PickPlaceCube")
