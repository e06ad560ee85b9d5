# SPDX-License-Identifier: BSD-3-Clause
"""Signs that a group-relative run has stopped learning, told once each, with what to do."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)

KL_LIMIT = 10.0
"""KL(old || new) of one iteration's decisions beyond which hardly anything of the old policy is left [nats]."""

STD_SHARE = 0.05
"""Share of its first value below which the policy's mean standard deviation counts as gone."""


class HealthWatch:
    """Looks at an iteration's metrics and warns in one line, once per sign.

    Args:
        patience: Iterations in a row without any informative group before the warning.
    """

    def __init__(self, patience: int = 3) -> None:
        self.patience = patience
        self._warned: set[str] = set()
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

    def _warn(self, sign: str, text: str) -> None:
        if sign not in self._warned:
            self._warned.add(sign)
            logger.warning("[gr00t_rl] %s", text)
