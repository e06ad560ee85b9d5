# SPDX-License-Identifier: BSD-3-Clause
"""Which checkpoints of a run stay on disk."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path

from .whole_files import partial_of

BEST_MODEL = "model_best.pt"
"""Name of the best checkpoint of a run."""


class KeptCheckpoints:
    """Removes a run's older checkpoints: the newest stay, and the best as :data:`BEST_MODEL`.

    Only files that this process has written are removed, and only after the new one is whole. Those of other runs, and
    the one that a run goes on from, are never among them.

    Args:
        number: Checkpoints that stay.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._written: list[Path] = []
        self._best = -math.inf

    def add(self, path: Path, mean_return: float | None) -> None:
        """Count a checkpoint that was written just now.

        Args:
            path: The file; other names than model_N.pt are left alone.
            mean_return: Mean return of the last episodes; None if none has ended.
        """
        if not re.fullmatch(r"model_\d+\.pt", path.name):
            return
        self._written = [file for file in self._written if file != path] + [path]
        if mean_return is not None and mean_return > self._best:
            self._best = mean_return
            _put_beside(path, path.with_name(BEST_MODEL))
        while len(self._written) > self.number:
            self._written.pop(0).unlink(missing_ok=True)


def _put_beside(path: Path, other: Path) -> None:
    """Give a file a second name, or a copy where the file system has none."""
    partial = partial_of(other)
    partial.unlink(missing_ok=True)
    try:
        partial.hardlink_to(path)
    except OSError:
        shutil.copyfile(path, partial)
    partial.replace(other)
