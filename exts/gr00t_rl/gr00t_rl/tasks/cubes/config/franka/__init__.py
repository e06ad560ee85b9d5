# SPDX-License-Identifier: BSD-3-Clause
"""Gym registration of the Cubes tasks."""

from gr00t_rl.tasks.registration import register_family

register_family("Gr00t-Tabletop-Cubes-Franka", __name__, "cubes", "Cubes")
