# SPDX-License-Identifier: BSD-3-Clause
"""Signs that a run has stopped learning or unlearns, told once each, with what to do."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, NamedTuple

from ..utils.intervals import wilson_interval
from .evaluator import Score

logger = logging.getLogger(__name__)

KL_LIMIT = 10.0
"""KL(old || new) of one iteration's decisions beyond which hardly anything of the old policy is left [nats]."""

STD_SHARE = 0.05
"""Share of its first value below which the policy's mean standard deviation counts as gone."""


FALL = 0.2
"""How far below its best a success rate must be to be called fallen."""

WINDOW = 256
"""Episodes over which the success in training is taken, at least."""


class Watch:
    """Tells each sign once."""

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def _warn(self, sign: str, text: str) -> None:
        if sign not in self._warned:
            self._warned.add(sign)
            logger.warning("[gr00t_rl] %s", text)


class Share(NamedTuple):
    """Successes among episodes."""

    iteration: int
    """In which they were counted, the last one of several."""
    successes: int
    episodes: int

    @property
    def rate(self) -> float:
        """Success rate."""
        return self.successes / self.episodes

    def has_fallen_from(self, best: Share) -> bool:
        """Whether the rate is more than :data:`FALL` below, and each lies outside the other's 95 % interval."""
        if best.rate - self.rate <= FALL:
            return False
        return self.rate < wilson_interval(*best[1:])[0] and best.rate > wilson_interval(*self[1:])[1]


class SuccessWatch(Watch):
    """Compares a run's success with the best that it had.

    Args:
        episode_steps: Env steps of the longest episode. Successes end early: a window of fewer steps would hold too
            many of them.
    """

    def __init__(self, episode_steps: int) -> None:
        super().__init__()
        self._episode_steps = episode_steps
        self._window: deque[Share] = deque()
        self._best: Share | None = None

    def look_evaluated(self, newest: Score | None, best: Score | None) -> None:
        """Compare an evaluation with the best one of the run."""
        if newest is None or best is None or newest.successes is None or best.successes is None:
            return
        now = Share(newest.iteration, newest.successes, newest.episodes)
        self._compare(
            now,
            Share(best.iteration, best.successes, best.episodes),
            "success",
            "the best is kept in model_best.pt; go on from it (--checkpoint best) with a lower "
            "agent.algorithm.desired_kl or learning_rate, or fewer num_learning_epochs",
        )

    def look_trained(self, iteration: int, num_steps: int, successes: int, episodes: int) -> None:
        """Compare the success of the last episodes of the training with the best that it had.

        Args:
            iteration: Number of the iteration.
            num_steps: Env steps of an iteration.
            successes: Episodes that succeeded in it.
            episodes: Episodes that ended in it.
        """
        window, least = self._window, -(-self._episode_steps // num_steps)
        window.append(Share(iteration, successes, episodes))
        total = sum(part.episodes for part in window)
        while len(window) > least and total - window[0].episodes >= WINDOW:
            total -= window.popleft().episodes
        if len(window) < least or total < WINDOW:
            return
        now = Share(iteration, sum(part.successes for part in window), total)
        if self._best is None or now.rate >= self._best.rate:
            self._best = now
        self._compare(
            now,
            self._best,
            "success in training",
            "set agent.evaluation_interval to keep the best, and lower agent.algorithm.desired_kl or learning_rate, or "
            "set fewer num_learning_epochs",
        )

    def _compare(self, now: Share, best: Share, what: str, advice: str) -> None:
        if now.has_fallen_from(best):
            self._warn(
                "success",
                f"{what} fell from {best.rate:.0%} (iteration {best.iteration}) to {now.rate:.0%} (iteration "
                f"{now.iteration}): {advice}".replace("%", " %"),
            )


def has_curriculum(env: Any) -> bool:
    """Whether an env gets harder in the course of a run, so that its success may fall without harm."""
    manager = getattr(getattr(env, "unwrapped", env), "curriculum_manager", None)
    return bool(getattr(manager, "active_terms", ()))


class HealthWatch(Watch):
    """Looks at a group-relative iteration's metrics and warns in one line, once per sign.

    Args:
        patience: Iterations in a row without any informative group before the warning.
    """

    def __init__(self, patience: int = 3) -> None:
        super().__init__()
        self.patience = patience
        self._barren = 0
        self._first_std: float | None = None

    def look(self, metrics: dict[str, float], action_std: float) -> None:
        """Check one iteration.

        Args:
            metrics: The iteration's metrics.
            action_std: Mean standard deviation of the policy's noise.
        """
        self._barren = self._barren + 1 if metrics["frac_zero_std"] >= 1.0 else 0
        if self._barren >= self.patience:
            mean = metrics["grpo/mean_reward"]
            self._warn(
                "groups",
                f"no group has told episodes apart for {self._barren} iterations (mean reward {mean:.3g}): nothing is "
                "learned; if the task is solved, stop; if it never succeeds, start from a better base policy, raise "
                "agent.algorithm.group_size or learn from dense rewards (agent.algorithm.reward=return)",
            )
        self._first_std = action_std if self._first_std is None else self._first_std
        if action_std < STD_SHARE * self._first_std:
            self._warn(
                "entropy",
                f"the policy's noise fell from {self._first_std:.3g} to {action_std:.3g}: soon all episodes of a group "
                "are alike; lower agent.algorithm.learning_rate or set agent.algorithm.entropy_coef to about 1e-3",
            )
        if metrics.get("kl_divergence", 0.0) > KL_LIMIT:
            self._warn(
                "kl",
                f"one iteration moved the policy by a KL of {metrics['kl_divergence']:.3g} per decision: it may not "
                "recover; lower agent.algorithm.learning_rate, or set agent.algorithm.target_kl or kl_coef",
            )
