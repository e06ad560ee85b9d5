# SPDX-License-Identifier: BSD-3-Clause
"""The gate before a process's first update: do the update's kernels give the rollout's log-probabilities?

Before any weight has moved the ratio of every decision is 1. Where the update's kernels round otherwise than the
rollout's did (another batch shape, gradients on, a compiled graph, a short type), it is not, and PPO would clip and
learn from the difference. It is measured once and told, and by default the old log-probabilities are then computed
again by the update's kernels.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import torch

from ..models.policy import PolicyEvaluation
from .losses import approx_kl, probability_ratio
from .ranks import Tally

logger = logging.getLogger(__name__)

LIMIT = 1e-3
"""Mean |ratio - 1| up to which the update's kernels are taken for the rollout's."""
ROWS = 256
"""Decisions after which no further micro-batch is scored."""


class UpdateGate:
    """Scores decisions of the rollout again, as the update will, and says how far the ratios are from 1.

    Nothing of the run changes: weights, gradients, generators and stored decisions stay as they are.

    Args:
        device: Device of the models.
        world_size: Number of ranks.
        speaks: Whether this process prints and warns.
        remedies: What may mend a difference, for the warning.
    """

    def __init__(self, device: str, world_size: int, speaks: bool, remedies: Iterable[str]) -> None:
        self.device, self.world_size, self.speaks, self.remedies = device, world_size, speaks, tuple(remedies)
        self.passed = self.differs = False

    def look(
        self, scored: Iterable[tuple[torch.Tensor, PolicyEvaluation]], remedy: str | None = None
    ) -> dict[str, float]:
        """Compare the log-probabilities of micro-batches; all ranks call it together.

        Args:
            scored: For each micro-batch the old log-probabilities [B] and what the update makes of the decisions. It is
                read inside, with gradients on, until :data:`ROWS` decisions are scored.
            remedy: What the caller does where they differ, to be told in place of a warning; None: nothing.

        Returns:
            The metrics; none where no rank had a decision, and the gate is then still to be passed.
        """
        errors, k3, closed, rows = [], [], [], 0
        cuda = [torch.device(self.device)] if torch.device(self.device).type == "cuda" else []
        with torch.random.fork_rng(devices=cuda), torch.enable_grad():
            for old, policy in scored:
                log_ratio = policy.log_prob.detach() - old
                errors.append((probability_ratio(log_ratio) - 1.0).abs())
                k3.append(approx_kl(log_ratio))
                closed.append(policy.kl)
                rows += len(old)
                del policy  # and with it the micro-batch's activations, before the next one's come
                if rows >= ROWS:
                    break
        tally = Tally(self.device, self.world_size)
        for name, parts in (("error", errors), ("k3", k3), ("closed", closed)):
            tally.add(name, torch.cat(parts) if parts else torch.zeros(0))
        _, moments = tally.exchange()
        if moments["error"].count == 0:
            return {}
        self.passed = True
        found = {
            "gate_ratio_error": moments["error"].mean,
            "gate_ratio_error_max": moments["error"].high,
            "gate_approx_kl": moments["k3"].mean,
            "gate_kl": moments["closed"].mean,
        }
        self.differs = not found["gate_ratio_error"] <= LIMIT  # NaN too; of all ranks, alike on each
        if self.speaks:
            self._tell(found, int(moments["error"].count), remedy)
        return found

    def _tell(self, found: dict[str, Any], rows: int, remedy: str | None = None) -> None:
        error, high, k3, closed = found.values()
        figures = f"mean |ratio - 1| {error:.1e}, largest {high:.1e}, KL {k3:.1e} (k3) and {closed:.1e} (closed form)"
        print(f"[gr00t_rl] before the first update, {rows} decisions scored again by its own kernels: {figures}")
        if error <= LIMIT:  # not NaN
            return
        if remedy is not None:
            print(f"[gr00t_rl] a mean of more than {LIMIT:.0e}: {remedy}")
        else:
            logger.warning(
                "[gr00t_rl] the update's kernels do not give the rollout's log-probabilities (mean |ratio - 1| %.1e, "
                "more than %.0e): set %s",
                error,
                LIMIT,
                ", or ".join(self.remedies),
            )
