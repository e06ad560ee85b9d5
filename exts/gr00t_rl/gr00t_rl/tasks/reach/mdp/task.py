# SPDX-License-Identifier: BSD-3-Clause
"""What Reach is about: the distance of the TCP to the goal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gr00t_rl.tasks.tabletop.mdp import goal_position
from gr00t_rl.tasks.tabletop.robot import tcp_position

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedRLEnv

SUCCESS_RADIUS = 0.03
"""Largest distance of the TCP from the goal that counts as there [m]."""


def goal_distance(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Distance of the TCP from the goal [N] [m]."""
    return (goal_position(env) - tcp_position(env)).norm(dim=-1)


def is_success(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Is the TCP at the goal at this instant, bool [N]."""
    return goal_distance(env) < SUCCESS_RADIUS
