# SPDX-License-Identifier: BSD-3-Clause
"""Gym registration of the Reach tasks."""

from gr00t_rl.tasks.registration import register_family

register_family("Gr00t-Reach-Franka", __name__, "reach", "Reach")
