# SPDX-License-Identifier: BSD-3-Clause
"""Earlier results and training runs that a report compares."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..utils.errors import ConfigurationError
from ..utils.event_files import Curves, read_curves
from .result import RESULT_FILE, read_result

CURVES = {"success rate": "charts/success_rate", "episodic return": "charts/episodic_return"}
"""Learning curves of a report: title and tag."""


@dataclass
class Entry:
    """One row of a comparison."""

    label: str
    result: dict[str, Any] | None = None
    curves: Curves | None = None


@dataclass
class Comparison:
    """What is compared."""

    entries: list[Entry] = field(default_factory=list)

    @property
    def results(self) -> list[Entry]:
        """The entries with a result."""
        return [entry for entry in self.entries if entry.result is not None]

    @property
    def curves(self) -> list[Entry]:
        """The entries with learning curves."""
        return [entry for entry in self.entries if entry.curves is not None]


def load_entries(path: Path) -> list[Entry]:
    """Read what ``--compare`` names: a result, a report's folder, or a training run with the evaluations in it.

    Raises:
        ConfigurationError: If there is nothing to compare.
    """
    if path.is_file():
        return [Entry(result_label(path), read_result(path))]
    if not path.is_dir():
        raise ConfigurationError(
            f"--compare {path} does not exist; pass a result of `gr00t-rl evaluate` or a run's folder"
        )
    entries = [Entry(result_label(file), read_result(file)) for file in sorted(path.rglob(RESULT_FILE))]
    if any(path.glob("events.out.tfevents.*")):
        entries.append(Entry(path.name, curves=read_curves(path, CURVES)))
    if not entries:
        raise ConfigurationError(
            f"--compare {path} has neither a {RESULT_FILE} nor TensorBoard event files; pass a result of "
            "`gr00t-rl evaluate` or a run's folder such as logs/rsl_rl/EXPERIMENT/TIME"
        )
    return entries


def result_label(file: Path) -> str:
    """Return a short name of a result's file: the folder's for the default name, otherwise the file's."""
    return file.resolve().parent.name if file.name == RESULT_FILE else file.stem
