# SPDX-License-Identifier: BSD-3-Clause
"""Gym registration of the Stack tasks."""

from gr00t_rl.tasks.registration import register_family

register_family("Gr00t-Stack-Cube-Franka", __name__, "stack", "StackCube")
