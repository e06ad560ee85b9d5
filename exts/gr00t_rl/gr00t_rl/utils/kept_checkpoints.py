# SPDX-License-Identifier: BSD-3-Clause
"""Which checkpoints of a run stay on disk."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import torch

from .foreign_files import check_regular
from .whole_files import partial_of, whole_file

BEST_MODEL = "model_best.pt"
"""Name of the checkpoint of a run with the highest evaluated success."""


class KeptCheckpoints:
    """Gives the best checkpoint of a run its second name, :data:`BEST_MODEL`, and removes older ones.

    Only files that this process has written are removed, and only after the new one is whole. Those of other runs, and
    the one that a run goes on from, are never among them.

    Args:
        number: Newest checkpoints that stay; None for all.
    """

    def __init__(self, number: int | None = None) -> None:
        self.number = number
        self._written: list[Path] = []

    def add(self, path: Path, is_best: bool) -> None:
        """Count a checkpoint that was written just now.

        Args:
            path: The file; other names than model_N.pt are left alone.
            is_best: Whether no evaluation of the run found a better one.
        """
        if not re.fullmatch(r"model_\d+\.pt", path.name):
            return
        self._written = [file for file in self._written if file != path] + [path]
        if is_best:
            put_beside(path, path.with_name(BEST_MODEL))
        while self.number is not None and len(self._written) > self.number:
            self._written.pop(0).unlink(missing_ok=True)


def take_best_along(source: Path, iteration: int, folder: Path) -> Path | None:
    """Give the folder of a resumed run the best checkpoint of the run that it goes on from.

    Args:
        source: The checkpoint that the run goes on from.
        iteration: Number of the best one, as ``source`` knows it. A later best of the same folder is not taken: it is
            none of the past of ``source``.
        folder: Folder of the resumed run.

    Returns:
        The file it was found in; None if it is no longer there.
    """
    for file in (source.with_name(BEST_MODEL), source.with_name(f"model_{iteration}.pt")):
        if _iteration_of(file) == iteration:
            folder.mkdir(parents=True, exist_ok=True)
            if file.absolute() != (folder / BEST_MODEL).absolute():
                put_beside(file, folder / BEST_MODEL)
            return file
    return None


def _iteration_of(file: Path) -> Any:
    """Number of the iteration after which a checkpoint was written; None where there is no readable one."""
    try:
        check_regular(file)
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # whatever the unpickler makes of foreign bytes
        return None
    return content.get("iter") if isinstance(content, dict) else None


def put_beside(path: Path, other: Path) -> None:
    """Give a file a second name, or a copy where the file system has none. Raises NotWritten."""
    partial = partial_of(other)
    try:
        partial.unlink(missing_ok=True)
        partial.hardlink_to(path)
        partial.replace(other)
    except OSError:
        with whole_file(other) as copy, path.open("rb") as file:
            shutil.copyfileobj(file, copy)
