# SPDX-License-Identifier: BSD-3-Clause
"""Starts that grow from easy to full as the policy succeeds.

A curriculum has one number, its level: 0 easy, 1 the full task. Reset events ask for the settings of the present level
with :func:`curriculum_value`; where the env has no curriculum they get those of the full task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from isaaclab.managers import CurriculumTermCfg, ManagerTermBase

from gr00t_rl.tasks.grouping import is_evaluating

from .history import OutcomeHistory, OutcomesDue
from .terminations import just_ended

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedEnv, ManagerBasedRLEnv


def curriculum_level(env: ManagerBasedEnv) -> torch.Tensor | None:
    """Level in [0, 1], a 0-d float tensor on the env's device; None without a curriculum, and in an evaluation."""
    return None if is_evaluating(env) else getattr(env, "_curriculum_level", None)


def curriculum_value(env: ManagerBasedEnv, easy: float, full: float) -> torch.Tensor | float:
    """A number that moves with the level from ``easy`` to ``full``, which it is without a curriculum."""
    level = curriculum_level(env)
    return full if level is None else easy + (full - easy) * level


def curriculum_range(
    env: ManagerBasedEnv, easy: tuple[float, float], full: tuple[float, float]
) -> list[torch.Tensor | float]:
    """The two ends of a range that moves with the level from ``easy`` to ``full``, see :func:`curriculum_value`."""
    return [curriculum_value(env, *ends) for ends in zip(easy, full, strict=True)]


class success_curriculum(ManagerTermBase):
    """Raises the level by ``step`` when ``threshold`` of the last episodes of the present level succeeded.

    The episodes that count are those that began and ended at the present level: a rise starts a new count. An episode
    is counted when its time would have been up, however early it ended, as in :class:`held_success`. The level is
    returned and logged as ``Curriculum/<name of the term>``. It never falls, and it is not kept in checkpoints: a
    resumed run begins at ``start`` and rises as fast as its policy deserves.

    Term params:
        threshold: Success rate, in (0, 1], at which the level rises.
        step: Rise of the level, in (0, 1].
        episodes: Finished episodes over which the success rate is taken; num_envs where that is more.
        start: Level of the first episodes, in [0, 1].
    """

    def __init__(self, cfg: CurriculumTermCfg, env: ManagerBasedRLEnv):
        super().__init__(cfg, env)
        # Created here, before the first reset, so that every episode has a level.
        env._curriculum_level = torch.full((), float(cfg.params["start"]), device=env.device)
        self._begun_at = env._curriculum_level.repeat(env.num_envs)
        self._history = OutcomeHistory(max(cfg.params["episodes"], env.num_envs), 1, env.device)
        self._horizon, self._steps = env.max_episode_length, env.common_step_counter
        self._due = OutcomesDue(env.num_envs, self._horizon, env.device)

    def __call__(
        self,
        env: ManagerBasedRLEnv,
        env_ids: Sequence[int] | slice,
        threshold: float,
        step: float,
        episodes: int,
        start: float,
    ) -> torch.Tensor:
        level, steps = env._curriculum_level, env.common_step_counter - self._steps
        self._steps = env.common_step_counter
        for _ in range(min(steps, self._horizon + 1)):  # it is not called in steps in which nobody is reset
            self._count(self._due.step())
        if is_evaluating(env):
            self._count(self._due.take())  # before an evaluation's first reset; later there is nothing
            self._due.begin_anew()
            return level
        ended = just_ended(env, env_ids)
        is_callers = ~ended.any() if len(ended) == env.num_envs else None  # an env.reset()
        if is_callers is not None:
            self._count(self._due.take(is_callers))
        # Float sums of 0 and 1 are exact, but their quotient may fall just short of the threshold it equals.
        rise = self._history.full() & (self._history.mean()[0] >= threshold - 1e-6)
        self._history.forget(rise)
        self._due.forget(rise)
        if is_callers is not None:
            self._due.forget(is_callers)
        counts = ended & (self._begun_at[env_ids] == level) & ~rise
        self._due.record(env_ids, counts * (1 + env.extras["success"][env_ids].int()), env.episode_length_buf[env_ids])
        level += step * rise
        level.clamp_(max=1.0)
        self._begun_at[env_ids] = level
        return level

    def _count(self, codes: torch.Tensor) -> None:
        """Count the episodes whose time is up: 0, or 1 + success, int [N]."""
        self._history.append((codes == 2)[:, None], codes > 0)
