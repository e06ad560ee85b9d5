# SPDX-License-Identifier: BSD-3-Clause
"""What happens when a loss or gradient is not finite."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import torch
from tensordict import TensorDict

from ..utils.errors import ConfigurationError, NotWritten
from ..utils.runner_files import save_whole

logger = logging.getLogger(__name__)


class NonFiniteGuard:
    """Skips optimiser steps whose gradient is not finite, keeps the evidence, and stops a run that does not recover.

    Weights, optimiser and normalisers stay as they were before the bad step, so that the last checkpoint and the
    present state are both good.

    Args:
        max_in_row: Bad steps in a row after which the run stops.
        dump_dir: Folder for the first offending minibatch of each row and the state at the stop; None to write none.
        rescue: Saves the present state where possible when the run stops, and says which file to go on from.
        suffix: Added to the dumps' names, so that ranks do not overwrite each other's.
    """

    MAX_DUMPS = 5
    """Minibatches with images are large, and a run may go on with a bad step now and then."""

    def __init__(
        self, max_in_row: int, dump_dir: str | None, rescue: Callable[[], str] | None = None, suffix: str = ""
    ) -> None:
        self.max_in_row = max_in_row
        self.dump_dir = None if dump_dir is None else Path(dump_dir)
        self.rescue, self.suffix = rescue, suffix
        self.in_row = 0
        self.total = 0
        self._dumps = 0

    def allows(self, grad_norm: torch.Tensor, minibatch: TensorDict, iteration: int) -> bool:
        """Return whether to take the step.

        Args:
            grad_norm: Global gradient norm, a scalar; identical on all ranks, since gradients are reduced before.
            minibatch: What the gradient was computed from.
            iteration: For the name of the dump.

        Raises:
            ConfigurationError: After ``max_in_row`` bad steps in a row.
        """
        if torch.isfinite(grad_norm):
            self.in_row = 0
            return True
        self.total += 1
        self.in_row += 1
        if self.in_row == 1 and self.dump_dir is not None and self._dumps < self.MAX_DUMPS:
            self._dumps += 1
            self._dump(minibatch, f"nonfinite_minibatch_{iteration}_{self._dumps}{self.suffix}.pt")
        if self.in_row >= self.max_in_row:
            where = f"; minibatches are in {self.dump_dir}" if self._dumps else ""
            bad = _nonfinite_entries(minibatch)
            advice = (
                f"the decisions hold numbers that are not finite ({', '.join(bad)}), which no learning rate mends: "
                "look at what the env reports"
                if bad
                else "lower agent.algorithm.learning_rate, if no other rank names bad decisions"
                if self.suffix
                else "lower agent.algorithm.learning_rate"
            )
            rescue = "" if self.rescue is None else f"; then {self.rescue()}"
            raise ConfigurationError(
                f"{self.in_row} gradients in a row were not finite (iteration {iteration}){where}; {advice}{rescue}"
            )
        return False

    def _dump(self, minibatch: TensorDict, name: str) -> None:
        """Write the minibatch; evidence that cannot be written must not cost a run."""
        assert self.dump_dir is not None
        try:
            self.dump_dir.mkdir(parents=True, exist_ok=True)
            save_whole({key: tensor.cpu() for key, tensor in minibatch.items()}, str(self.dump_dir / name))
        except (OSError, NotWritten) as error:
            logger.warning("[gr00t_rl] %s was not written: %s", self.dump_dir / name, error)


def _nonfinite_entries(minibatch: TensorDict) -> list[str]:
    """Return the names of the entries of a minibatch that hold NaN or infinity."""
    return [name for name, x in minibatch.items() if x.is_floating_point() and not x.isfinite().all()]
