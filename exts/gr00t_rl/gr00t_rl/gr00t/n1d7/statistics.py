# SPDX-License-Identifier: BSD-3-Clause
"""Statistics of an embodiment's data in a checkpoint's files.

``statistics.json`` is {tag: {"state" | "action" | "relative_action": {key: {statistic: numbers}}}}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..modality import ActionKey, Modality, StateKey, Statistics
from ..normalise import Stats, read_stats
from .keys import check_consecutive, check_keys, check_present, mode_of
from .recipe import PROCESSOR_FILE, Recipe, read_table
from .relative import Relative, read_relative
from .scaling import NEEDS

STATISTICS_FILE = "statistics.json"


def read_statistics(assets: Mapping[str, bytes], modality: Modality) -> Statistics | None:
    """Statistics that a modality's keys need; None if none is normalised.

    Raises:
        CheckpointError: A file that is not readable.
        ValueError: The statistics of a key that is normalised are missing or do not fit, the embodiment's states are of
            the past too, of which an env keeps none, or its actions are not those of consecutive steps from now on.
    """
    recipe = Recipe.read(assets)
    relative = read_relative(recipe, modality)
    check_keys(recipe, modality, relative)
    if modality.state:
        check_present(recipe, modality.embodiment_tag, "state", "states")
    check_consecutive(recipe, modality.embodiment_tag)
    modes = {f"state.{name}": key.normalization for name, key in modality.state.items()}
    modes |= {f"action.{name}": key.normalization for name, key in modality.action.items()}
    needing = [name for name, mode in modes.items() if mode is not None]
    content, tag = read_table(assets, STATISTICS_FILE), modality.embodiment_tag
    statistics = _read(content or {}, tag)
    _check_unscaled(recipe, modality, statistics)
    if not needing:
        return None
    if content is None:
        raise ValueError(
            f"{needing[0]}.normalization is {modes[needing[0]]!r}, but the checkpoint has no {STATISTICS_FILE}; set "
            "normalization=None for every key, or a checkpoint that has it"
        )
    if tag not in content:
        raise ValueError(f"embodiment_tag is {tag!r}, but {STATISTICS_FILE} has {sorted(content)}; set one of these")
    check_statistics(statistics, modality, relative)
    return statistics


def read_all(assets: Mapping[str, bytes]) -> dict[str, Statistics]:
    """Statistics of every embodiment; empty without a file.

    Raises:
        CheckpointError: The file is not readable.
    """
    content = read_table(assets, STATISTICS_FILE) or {}
    return {tag: _read(content, tag) for tag in content}


def _read(content: Mapping[str, Any], tag: str) -> Statistics:
    """Statistics of an embodiment; empty where there is none.

    Raises:
        CheckpointError: They are not tables of numbers.
    """
    try:
        parts = {
            part: {key: _tensors(table) for key, table in (content.get(tag, {}).get(part) or {}).items()}
            for part in ("state", "action", "relative_action")
        }
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"the checkpoint's {STATISTICS_FILE} is not readable for {tag!r} ({type(error).__name__}: {error}): copy "
            "it again from the source"
        ) from error
    return Statistics(**parts)


def _check_unscaled(recipe: Recipe, modality: Modality, statistics: Statistics) -> None:
    """Make sure that the checkpoint leaves alone the values of keys that are to stay as they are."""
    tag = modality.embodiment_tag
    for part, keys in (("state", modality.state), ("action", modality.action)):
        if not recipe.modality(tag, part):
            continue
        for name in (name for name, key in keys.items() if mode_of(key) is None):
            found = getattr(statistics, part).get(name, {})
            mean, std = (found.get(statistic, torch.full((1,), torch.nan)) for statistic in ("mean", "std"))
            if bool((mean != 0).any() or (std != 1).any()):
                raise ValueError(
                    f"{part}.{name}.normalization is None, but the checkpoint's {PROCESSOR_FILE} says otherwise; set "
                    "'mean_std'"
                )


def _tensors(table: Mapping[str, Any]) -> dict[str, Tensor]:
    found = read_stats(table)
    if any(not values.ndim for values in found.values()):
        raise ValueError("a number instead of a list")
    return found


def check_statistics(statistics: Statistics, modality: Modality, relative: Mapping[str, Relative]) -> None:
    """Make sure that every key that is normalised has what its mode needs.

    Raises:
        ValueError: A key without statistics, of another width, or without those that its mode needs.
    """
    for name, key in modality.state.items():
        if key.normalization is not None:
            check_key("state", name, key, statistics.state, NEEDS[key.normalization])
    for name, key in modality.action.items():
        if key.normalization is not None:
            part = "relative_action" if name in relative else "action"
            check_key(part, name, key, getattr(statistics, part), NEEDS[key.normalization])


def check_key(
    part: str, name: str, key: StateKey | ActionKey, found: Mapping[str, Stats], needed: tuple[str, ...]
) -> None:
    where = f"{part.removeprefix('relative_')}.{name}"
    if name not in found and part == "relative_action":
        raise ValueError(
            f"{where} is relative to the state, but the relative_action keys with statistics are {sorted(found)}; give "
            "statistics of what relative_chunks returns"
        )
    if name not in found:
        raise ValueError(f"{where} has no statistics, the {part} keys are {sorted(found)}; rename {name!r}")
    if missing := [statistic for statistic in needed if statistic not in found[name]]:
        raise ValueError(
            f"{where}.normalization is {key.normalization!r}, but its {part} statistics lack {', '.join(missing)}; set "
            "another mode or copy the file again"
        )
    if bad := [statistic for statistic in needed if not found[name][statistic].isfinite().all()]:
        raise ValueError(f"{where}: {bad[0]} of its {part} statistics is not finite; copy the file again")
    for statistic in needed:
        values = found[name][statistic]
        if values.shape[-1] != key.dim or values.ndim > (2 if part == "relative_action" else 1):
            raise ValueError(
                f"{where} is {key.dim} wide ({key.start}:{key.end}), but its {part} statistics are "
                f"{list(values.shape)}; set start and end to the columns it was trained on"
            )
