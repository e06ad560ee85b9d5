# SPDX-License-Identifier: BSD-3-Clause
"""Learning-rate schedules, one per parameter group."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

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


def warmed_up(iteration: int, begins: int, length: int) -> float:
    """Return the factor of a linear warm-up of ``length`` iterations from ``begins`` on: 1 / (length + 1) to 1."""
    if length == 0:
        return 1.0
    return min(1.0, max(iteration - begins + 1, 0) / (length + 1))


class Schedule(NamedTuple):
    """How the rate of a group changes from iteration to iteration."""

    kind: str
    """"fixed", "linear", "cosine" or "adaptive"."""
    warmup_iterations: int = 0
    """Iterations of a linear warm-up."""
    begins: int = 0
    """First iteration in which the group learns."""


class RateController:
    """Sets the learning rate of each parameter group.

    A group's entry "rate" is its rate without the warm-up, "lr" the one with which it learns.

    Args:
        optimizer: The optimiser.
        schedules: Schedule of each group.
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
        schedules: Sequence[Schedule],
        max_iterations: int | None,
        desired_kl: float,
    ) -> None:
        self.optimizer, self.schedules = optimizer, tuple(schedules)
        self.max_iterations, self.desired_kl = max_iterations, desired_kl
        self.end = max_iterations
        self.initial = [group["lr"] for group in optimizer.param_groups]
        self._shares = [1.0] * len(self.initial)

    @property
    def is_adaptive(self) -> bool:
        """Whether any rate follows the KL."""
        return any(schedule.kind == "adaptive" for schedule in self.schedules)

    def begin_iteration(self, iteration: int) -> None:
        """Apply the annealing schedules and warm-ups at the start of iteration ``iteration`` (from 0)."""
        self._shares = [warmed_up(iteration, s.begins, s.warmup_iterations) for s in self.schedules]
        for group, schedule, initial, share in self._groups():
            if schedule.kind == "adaptive":
                # a resumed run brings its rate along, but may have been given another initial one
                rate = self._bounded(group["rate"], initial)
            else:
                rate = annealed(initial, schedule.kind, 0.0 if self.end is None else iteration / self.end)
            group["rate"], group["lr"] = rate, rate * share

    def resume_at(self, iteration: int) -> None:
        """Anneal to 0 at the end of the ``max_iterations`` that a run resumed at ``iteration`` adds."""
        self.end = None if self.max_iterations is None else iteration + self.max_iterations

    def end_iteration(self, kl: float) -> None:
        """Move adaptive rates towards the target by what the iteration's KL(old || new) turned out to be.

        Once per iteration, and all by the same factor: adapting within an iteration oscillates, since each minibatch
        sees the drift of all before it. While a warm-up keeps the KL small, they do not rise.
        """
        factor = 1.0 / 1.3 if kl > 1.5 * self.desired_kl else 1.3 if kl < self.desired_kl / 1.5 else 1.0
        if any(0.0 < share < 1.0 for share in self._shares):
            factor = min(factor, 1.0)
        for group, schedule, initial, share in self._groups():
            if schedule.kind == "adaptive":
                group["rate"] = self._bounded(group["rate"] * factor, initial)
                group["lr"] = group["rate"] * share

    def _groups(self) -> Iterator[tuple[dict[str, Any], Schedule, float, float]]:
        return zip(self.optimizer.param_groups, self.schedules, self.initial, self._shares, strict=True)

    def _bounded(self, rate: float, initial: float) -> float:
        low, high = self.BOUNDS
        return min(max(rate, low * initial), high * initial)
