# SPDX-License-Identifier: BSD-3-Clause
"""Gym registration of the Push tasks."""

from gr00t_rl.tasks.registration import register_family

register_family(
    "Gr00t-Push-Cube-Franka",
    __name__,
    "push",
    "PushCube",
    {"rsl_rl_n1d7_cfg_entry_point": "rsl_rl_gr00t_cfg:PushCubeCameraN1d7RunnerCfg"},
)
