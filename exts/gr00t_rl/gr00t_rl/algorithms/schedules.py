# SPDX-License-Identifier: BSD-3-Clause
"""Learning-rate schedules, one per parameter group."""

from __future__ import annotations

import math

import torch


def annealed(initial: float, schedule: str, progress: float) -> float:
    """Return the rate of a schedule at ``progress`` in [0, 1] of the run.

    Args:
        initial: Rate at progress 0.
        schedule: "fixed", "linear" (to 0) or "cosine" (half a cosine, to 0). An "adaptive" rate does not anneal.
        progress: Share of the iterations that are done.
    """
    progress = min(max(progress, 0.0), 1.0)
    if schedule == "linear":
        return initial * (1.0 - progress)
    if schedule == "cosine":
        return initial * 0.5 * (1.0 + math.cos(math.pi * progress))
    return initial


class RateController:
    """Sets the learning rate of each parameter group: the actor's, and the critic's where there is one.

    Args:
        optimizer: Optimiser whose group 0 holds the actor's parameters, and group 1 the critic's.
        schedules: Schedule of each group: "fixed", "linear", "cosine" or "adaptive".
        max_iterations: Iterations that this run will do, over which annealing goes to 0; None: rates do not anneal.
        desired_kl: Target KL divergence per iteration of "adaptive".
    """

    BOUNDS = (0.03, 4.0)
    """The adaptive rate stays within these multiples of its initial value.

    Where few samples say nothing, the KL stays small and the rate would grow until one lucky gradient ruins the policy.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        schedules: tuple[str, ...],
        max_iterations: int | None,
        desired_kl: float,
    ) -> None:
        self.optimizer, self.schedules = optimizer, schedules
        self.max_iterations, self.desired_kl = max_iterations, desired_kl
        self.end = max_iterations
        self.initial = [group["lr"] for group in optimizer.param_groups]

    def begin_iteration(self, iteration: int) -> None:
        """Apply the annealing schedules at the start of iteration ``iteration`` (from 0)."""
        for group, schedule, initial in zip(self.optimizer.param_groups, self.schedules, self.initial, strict=True):
            if schedule == "adaptive":
                # a resumed run brings its rate along, but may have been given another initial one
                group["lr"] = self._bounded(group["lr"], initial)
            else:
                group["lr"] = annealed(initial, schedule, 0.0 if self.end is None else iteration / self.end)

    def resume_at(self, iteration: int) -> None:
        """Anneal to 0 at the end of the ``max_iterations`` that a run resumed at ``iteration`` adds."""
        self.end = None if self.max_iterations is None else iteration + self.max_iterations

    def end_iteration(self, kl: float) -> None:
        """Move adaptive rates towards the target by what the iteration's KL(old || new) turned out to be.

        Once per iteration, and each group by itself: adapting within an iteration oscillates, since each minibatch
        sees the drift of all before it.
        """
        factor = 1.0 / 1.3 if kl > 1.5 * self.desired_kl else 1.3 if kl < self.desired_kl / 1.5 else 1.0
        for group, schedule, initial in zip(self.optimizer.param_groups, self.schedules, self.initial, strict=True):
            if schedule == "adaptive":
                group["lr"] = self._bounded(group["lr"] * factor, initial)

    def _bounded(self, rate: float, initial: float) -> float:
        low, high = self.BOUNDS
        return min(max(rate, low * initial), high * initial)
