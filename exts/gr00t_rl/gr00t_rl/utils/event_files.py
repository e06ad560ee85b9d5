# SPDX-License-Identifier: BSD-3-Clause
"""The curves of a training run, read from its TensorBoard event files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import ConfigurationError

SPEED, COLLECT, LEARN = "Perf/total_fps", "Perf/collection_time", "Perf/learning_time"
"""rsl_rl's own tags, which every run of it has: env steps per second, and the two parts [s] of an iteration."""


@dataclass
class Curves:
    """How a training run went, one value per iteration."""

    iterations: np.ndarray
    """Numbers of the iterations, int [I]."""
    seconds: np.ndarray
    """Time of collecting and learning since the first of them began [I] [s]."""
    env_steps: np.ndarray
    """Env steps of all envs since then [I], to the rounding of the logged speed."""
    values: dict[str, np.ndarray]
    """By the name asked for, [I], nan where nothing was logged."""


def read_scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Read all scalars of the event files in ``folder``: tag -> step -> value.

    A run that was resumed has several files, and may have done a step twice: what was logged later counts.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    scalars: dict[str, dict[int, float]] = {}
    for tag in events.Tags()["scalars"]:
        in_time = sorted(events.Scalars(tag), key=lambda event: event.wall_time)
        values = {event.step: event.value for event in in_time}
        scalars[tag] = dict(sorted(values.items()))
    return scalars


def read_curves(folder: Path, tags: Mapping[str, str]) -> Curves:
    """Read the learning curves of the run in ``folder``, those of resumed parts included.

    Args:
        folder: The run's folder, with its event files.
        tags: What to read: name -> tag.

    Raises:
        ConfigurationError: If the folder holds no speed of rsl_rl's, from which the env steps follow.
    """
    scalars = read_scalars(folder)
    speed, collect, learn = (scalars.get(tag, {}) for tag in (SPEED, COLLECT, LEARN))
    iterations = sorted(speed.keys() & collect.keys() & learn.keys())
    if not iterations:
        raise ConfigurationError(
            f"the event files of {folder} hold no iteration of rsl_rl ({SPEED}, {COLLECT}, {LEARN}); pass the folder "
            "of another run"
        )
    seconds = np.array([collect[i] + learn[i] for i in iterations])
    logged = {name: scalars.get(tag, {}) for name, tag in tags.items()}
    return Curves(
        iterations=np.array(iterations),
        seconds=np.cumsum(seconds),
        env_steps=np.cumsum(seconds * [speed[i] for i in iterations]),
        values={name: np.array([found.get(i, np.nan) for i in iterations]) for name, found in logged.items()},
    )
