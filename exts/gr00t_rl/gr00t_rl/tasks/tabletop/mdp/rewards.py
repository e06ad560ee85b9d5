# SPDX-License-Identifier: BSD-3-Clause
"""Reward terms. Isaac Lab multiplies a term by weight and step time, so a weight of w / step time pays w per unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from isaaclab.managers import ManagerTermBase, RewardTermCfg

from ..robot import arm_index

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedRLEnv


class progress(ManagerTermBase):
    """Decrease of a distance since the last env step [N], in metres.

    It telescopes: over an episode it sums to the first distance minus the last, however long the way, so that it pays
    for getting closer and neither for moving nor for waiting.

    Term params:
        distance: Function of the env that returns the distance [N], in metres.
    """

    def __init__(self, cfg: RewardTermCfg, env: ManagerBasedRLEnv):
        super().__init__(cfg, env)
        self._last = torch.zeros(env.num_envs, device=env.device)

    def reset(self, env_ids: Sequence[int] | None = None) -> None:
        ids = slice(None) if env_ids is None else env_ids
        self._last[ids] = self.cfg.params["distance"](self._env)[ids]

    def __call__(self, env: ManagerBasedRLEnv, distance: Callable[[ManagerBasedRLEnv], torch.Tensor]) -> torch.Tensor:
        now = distance(env)
        gain = self._last - now
        self._last[:] = now
        return gain


def success_bonus(env: ManagerBasedRLEnv) -> torch.Tensor:
    """1 in the step that completes the task [N]: what the ``success`` termination says, not a second opinion."""
    return env.termination_manager.get_term("success").float()


def joint_limits(env: ManagerBasedRLEnv, margin: float) -> torch.Tensor:
    """How near the arm's joints are to their position limits [N]; see :func:`limit_proximity`.

    Args:
        margin: Distance from a limit at which the penalty sets in [rad].
    """
    data, arm = env.scene["robot"].data, arm_index(env).arm
    lower, upper = data.soft_joint_pos_limits.torch[:, arm].unbind(dim=-1)
    return limit_proximity(data.joint_pos.torch[:, arm], lower, upper, margin)


def limit_proximity(position: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor, margin: float) -> torch.Tensor:
    """Sum over joints [N] of (1 - distance to the nearer limit / margin)^2 within the margin, 0 outside of it.

    A joint at its limit counts 1, so that the sum says how many are there; its slope vanishes where the margin begins.

    Args:
        position: Joint positions [N, J] [rad].
        lower: Lower limits [N, J] [rad].
        upper: Upper limits [N, J] [rad].
        margin: Distance from a limit at which the sum sets in [rad].
    """
    room = torch.minimum(position - lower, upper - position)
    return (1.0 - room / margin).clamp_min(0.0).square().sum(dim=-1)
