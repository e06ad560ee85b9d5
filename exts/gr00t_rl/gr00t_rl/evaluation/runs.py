# SPDX-License-Identifier: BSD-3-Clause
"""Earlier results and training runs that a report compares."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.errors import ConfigurationError
from .result import RESULT_FILE, read_result

CURVES = {"success rate": "charts/success_rate", "episodic return": "charts/episodic_return"}
"""Learning curves of a report: title and tag."""


@dataclass
class Curves:
    """How a training run went, one value per iteration."""

    env_steps: np.ndarray
    """Env steps of all envs since the run began, [I]."""
    minutes: np.ndarray
    """Time of collecting and learning since the run began [I] [min]."""
    values: dict[str, np.ndarray]
    """By title of :data:`CURVES`, [I], nan where nothing was logged."""


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
        raise ConfigurationError(f"--compare {path} does not exist; pass a result of evaluate.py or a run's folder")
    entries = [Entry(result_label(file), read_result(file)) for file in sorted(path.rglob(RESULT_FILE))]
    if any(path.glob("events.out.tfevents.*")):
        entries.append(Entry(path.name, curves=read_curves(path)))
    if not entries:
        raise ConfigurationError(
            f"--compare {path} has neither a {RESULT_FILE} nor TensorBoard event files; pass a result of evaluate.py "
            "or a run's folder such as logs/rsl_rl/EXPERIMENT/TIME"
        )
    return entries


def result_label(file: Path) -> str:
    """Return a short name of a result's file: the folder's for the default name, otherwise the file's."""
    return file.resolve().parent.name if file.name == RESULT_FILE else file.stem


def read_curves(folder: Path) -> Curves:
    """Read the learning curves from a run's TensorBoard event files, those of resumed parts included.

    Raises:
        ConfigurationError: If they hold no speed of rsl_rl's, from which the env steps follow.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    known = events.Tags()["scalars"]

    def scalars(tag: str) -> dict[int, float]:
        return {event.step: event.value for event in events.Scalars(tag)} if tag in known else {}

    sps, collect, learn = (scalars(f"Perf/{name}") for name in ("total_fps", "collection_time", "learning_time"))
    iterations = sorted(sps.keys() & collect.keys() & learn.keys())
    if not iterations:
        raise ConfigurationError(f"--compare {folder}: its event files hold no iteration of rsl_rl; pass another run")
    seconds = np.array([collect[i] + learn[i] for i in iterations])
    values = {}
    for title, tag in CURVES.items():
        logged = scalars(tag)
        values[title] = np.array([logged.get(i, np.nan) for i in iterations])
    return Curves(
        env_steps=np.cumsum([sps[i] * s for i, s in zip(iterations, seconds, strict=True)]),
        minutes=np.cumsum(seconds) / 60,
        values=values,
    )
