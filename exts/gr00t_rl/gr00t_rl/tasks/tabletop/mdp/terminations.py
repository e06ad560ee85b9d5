# SPDX-License-Identifier: BSD-3-Clause
"""Success: the one place that decides it, counts it and reports it beside the other ways an episode can end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from isaaclab.managers import ManagerTermBase, TerminationTermCfg

from gr00t_rl.tasks.grouping import is_evaluating
from gr00t_rl.utils.instructions import (
    FAILURE_RATE_TAG,
    SUCCESS_RATE_TAG,
    TIME_OUT_RATE_TAG,
    instruction_labels,
    task_names,
)

from .history import OutcomeHistory, OutcomesDue
from .instructions import instruction_index

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedRLEnv

_MIN_HISTORY = 256
_KINDS = 3


class held_success(ManagerTermBase):
    """True [N] once a success test has held without a break for ``hold_s`` seconds.

    Reports, for loggers and algorithms:

    - ``env.extras["success"]``: bool [N], each step. Where an episode has just ended it says whether it succeeded.
    - ``env.extras["log"]["charts/success_rate"]``: at episode ends, the share of successes among the last
      max(256, num_envs) episodes (of fewer while there are fewer, 0 while there is none), as a 0-d tensor. An episode
      is counted when its time would have been up, whenever it ended: counted at their ends, quick successes come
      first. So there is no entry before the env has run for the length of an episode.
    - ``charts/failure_rate`` and ``charts/time_out_rate``: the shares of those that another termination ended, such as
      a lost cube, and of those whose time was up. The three add up to 1.
    - Where episodes are given instructions by chance, ``env.extras["instruction"]``: int64 [N], each step; where an
      episode has just ended, the one it had. If each is a task of its own (``instruction_names`` of the env cfg),
      ``charts/success_rate/<name>``: the success rate of the last max(256, num_envs) episodes of each.

    Not counted: episodes that a caller abandons with ``env.reset()``, and those whose time is not up then; episodes
    of an evaluation in between (``env.evaluating``); first episodes that rsl_rl lets begin at a random length.

    Term params:
        test: Function of the env that says whether the task is done at this instant, bool [N].
        hold_s: How long it must hold [s].
    """

    def __init__(self, cfg: TerminationTermCfg, env: ManagerBasedRLEnv):
        super().__init__(cfg, env)
        self._hold_steps = max(1, math.ceil(cfg.params["hold_s"] / env.step_dt - 1e-6))
        self._held = torch.zeros(env.num_envs, dtype=torch.long, device=env.device)
        self._success = torch.zeros(env.num_envs, dtype=torch.bool, device=env.device)
        size = max(_MIN_HISTORY, env.num_envs)
        self._history = OutcomeHistory(size, _KINDS, env.device)
        self._due, self._known = OutcomesDue(env.num_envs, env.max_episode_length, env.device), False
        self._histories = {name: OutcomeHistory(size, 1, env.device) for name in task_names(env.cfg)}
        self._instructed = bool(instruction_labels(env.cfg))
        self._instruction = torch.zeros(env.num_envs, dtype=torch.long, device=env.device)
        env.extras["success"] = self._success

    def __call__(
        self, env: ManagerBasedRLEnv, test: Callable[[ManagerBasedRLEnv], torch.Tensor], hold_s: float
    ) -> torch.Tensor:
        # in place: a caller may step inside torch.inference_mode() and reset outside
        self._held.add_(1).mul_(test(env))
        self._success = self._held >= self._hold_steps
        env.extras["success"] = self._success
        if self._instructed:
            # A copy: the next instruction is drawn before an episode's end is counted.
            env.extras["instruction"] = self._instruction = instruction_index(env)[:, 0].clone()
        if is_evaluating(env):
            self._due.begin_anew()
        else:
            codes = self._due.step()
            self._count(codes, self._due.any_due)
        return self._success

    def reset(self, env_ids: Sequence[int] | None = None) -> None:
        ids = slice(None) if env_ids is None else env_ids
        ended = just_ended(self._env, ids)
        if not is_evaluating(self._env):
            endings = kinds_of_ending(self._success[ids], self._env.termination_manager.terminated[ids])
            codes = 1 + endings.int().argmax(dim=-1) + _KINDS * self._instruction[ids]
            self._due.record(ids, codes * ended, self._env.episode_length_buf[ids])
        if len(ended) == self._env.num_envs:  # all of this step's endings are known
            self._count(self._due.take(), self._due.any_complete)
            self._due.forget(~ended.any())  # a caller's env.reset()
        self._held[ids] = 0
        if self._known:
            log, tags = self._env.extras["log"], (SUCCESS_RATE_TAG, FAILURE_RATE_TAG, TIME_OUT_RATE_TAG)
            log.update(zip(tags, self._history.mean().unbind(), strict=True))
            log.update({f"{SUCCESS_RATE_TAG}/{name}": history.mean()[0] for name, history in self._histories.items()})

    def _count(self, codes: torch.Tensor, are_any: bool) -> None:
        """Count the episodes whose time is up, if any: 0, or 1 + kind of ending + 3 · instruction, int [N]."""
        self._known |= are_any
        if not are_any:
            return
        valid, kind, instruction = codes > 0, (codes - 1) % _KINDS, (codes - 1) // _KINDS
        endings = kind[:, None] == torch.arange(_KINDS, device=codes.device)
        self._history.append(endings, valid)
        for number, history in enumerate(self._histories.values()):
            history.append(endings[:, :1], valid & (instruction == number))


def kinds_of_ending(success: torch.Tensor, terminated: torch.Tensor) -> torch.Tensor:
    """One-hot endings bool [n, 3] (success, failure, time-out) of episodes that have ended.

    Args:
        success: Has the task been completed, bool [n]; it counts even if something else happened at the same instant.
        terminated: Did the episode end in a terminal state, success included, bool [n].
    """
    return torch.stack((success, terminated & ~success, ~(terminated | success)), dim=-1)


def just_ended(env: ManagerBasedRLEnv, ids: torch.Tensor | slice | Sequence[int]) -> torch.Tensor:
    """Of envs that are being reset: did the episode end, bool [n], or did someone call ``env.reset()`` half way?"""
    return env.reset_buf[ids] & (env.episode_length_buf[ids] > 0)
