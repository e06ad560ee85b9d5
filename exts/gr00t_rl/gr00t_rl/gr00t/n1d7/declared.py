# SPDX-License-Identifier: BSD-3-Clause
"""An embodiment's keys as a checkpoint's own files declare them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..modality import ActionKey, Modality, StateKey
from ..normalise import SIN_COS
from .keys import expected_modes
from .recipe import PROCESSOR_FILE, Recipe, read_table
from .relative import read_relative
from .statistics import STATISTICS_FILE


def declared_modality(assets: Mapping[str, bytes], tag: str | None) -> Modality | None:
    """Return the keys of an embodiment; see :meth:`Gr00tProcessor.declared_modality`.

    State and action are laid out key after key; all states are columns of one group, "state".

    Raises:
        CheckpointError: A file that is not readable.
        ValueError: There is no such embodiment, or several and no tag, or no statistics of it.
    """
    recipe = Recipe.read(assets)
    known = [name for name in recipe.embodiments if recipe.modality(name, "action")]
    if not known:
        return None
    if tag is None and len(known) > 1:
        raise ValueError(f"embodiment_tag is not given, and the checkpoint's {PROCESSOR_FILE} has {known}; set one")
    tag = known[0] if tag is None else tag
    if tag not in known:
        raise ValueError(f"embodiment_tag is {tag!r}, but the checkpoint's {PROCESSOR_FILE} has {known}; set one of it")
    tables = (read_table(assets, STATISTICS_FILE) or {}).get(tag)
    states = {
        name: StateKey("state", start, end) for name, (start, end) in _slices(recipe, tag, "state", tables).items()
    }
    changes = _changes(recipe.modality(tag, "action"))
    actions = {
        name: ActionKey(start, end, absolute=name not in changes)
        for name, (start, end) in _slices(recipe, tag, "action", tables).items()
    }
    video = {name: name for name in recipe.modality(tag, "video").get("modality_keys") or ()}
    plain = Modality(tag, video, states, actions)
    relative = read_relative(recipe, plain)

    def mode(part: str, name: str) -> str | None:
        return expected_modes(recipe, tag, part, name, part == "action" and name in relative)[0]

    return dataclasses.replace(
        plain,
        state={name: _scaled(key, mode("state", name)) for name, key in states.items()},
        action={name: dataclasses.replace(key, normalization=mode("action", name)) for name, key in actions.items()},
    )


def _scaled(key: StateKey, mode: str | None) -> StateKey:
    if mode == SIN_COS:
        return dataclasses.replace(key, normalization=None, sin_cos=True)
    return dataclasses.replace(key, normalization=mode)


def _changes(config: Mapping[str, Any]) -> set[str]:
    """Action keys that are steps, of which 0 means that nothing happens."""
    tables = config.get("action_configs") or [{}] * len(config["modality_keys"])
    pairs = zip(config["modality_keys"], tables, strict=True)
    return {name for name, table in pairs if str(table.get("rep")).upper() == "DELTA"}


def _slices(recipe: Recipe, tag: str, part: str, tables: Any) -> dict[str, tuple[int, int]]:
    """First column and the one after the last of each key, whose width the statistics say."""
    slices, position = {}, 0
    for name in recipe.modality(tag, part).get("modality_keys") or ():
        try:
            width = len(tables[part][name]["mean"])
        except (TypeError, KeyError):
            raise ValueError(
                f"embodiment_tag is {tag!r}, but the checkpoint's {STATISTICS_FILE} has no mean of {part}.{name}; copy "
                "it again from the source"
            ) from None
        slices[name] = (position, position + width)
        position += width
    return slices
