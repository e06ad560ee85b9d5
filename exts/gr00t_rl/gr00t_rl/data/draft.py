# SPDX-License-Identifier: BSD-3-Clause
"""A draft of ``meta/modality.json`` from the names of a dataset's features, for a person to correct."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from .described import picture_features, picture_size, width_of
from .layout import ACTION, ANNOTATION, PRIVILEGED, STATE, TASK_INDEX

OPENPI = {"state": "state", "action": "actions"}
"""Columns of datasets that openpi's examples convert."""

_NUMBER = re.compile(r"[._\- ]?\d+$")
_SUFFIX = re.compile(r"\.(pos|vel|position|velocity|value)$")
_SIDE = re.compile(r"^k?(left|right)[._\- ]?")  # Unitree's names begin with a k
_GRIPPER = re.compile(r"gripper|finger|jaw|hand")
_CHANGE = re.compile(r"delta|relative|velocit|\.vel$")


def draft_modality(info: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a modality.json for a dataset with this info.json.

    Dimensions whose names count (``joint_0``, ``joint_1``) are one key, and so are those of an arm, on each side, and
    those of a gripper. Whether actions are changes cannot be seen in a name unless it says so.
    """
    features = info["features"]
    parts = {
        part: _keys(features, list(_vectors(features, part, default)), default)
        for part, default in (("state", STATE), ("action", ACTION))
    }
    for key, entry in parts["action"].items():
        names = (_names(features[entry.get("original_key", ACTION)]) or [])[entry["start"] : entry["end"]]
        entry["absolute"] = not any(_CHANGE.search(f"{key} {name}".lower()) for name in names)
    cameras = [column for column in picture_features(features) if picture_size(features[column]) is not None]
    video = {_camera_key(column): {"original_key": column} for column in cameras}
    return {**parts, "video": video, "annotation": _annotations(features)}


def _vectors(features: Mapping[str, Any], part: str, default: str) -> Iterable[str]:
    """Columns of the state or of the action: the usual one, openpi's, or those that begin with its name."""
    for usual in (default, OPENPI[part]):
        if usual in features:
            yield usual
            return
    prefix = "action" if part == "action" else "observation."
    for column, feature in features.items():
        if column.startswith(prefix) and column != PRIVILEGED and width_of(feature) is not None:
            yield column


def _annotations(features: Mapping[str, Any]) -> dict[str, Any]:
    """The dataset's own annotations, or the task number as one."""
    found = {name.removeprefix("annotation."): {} for name in features if name.startswith("annotation.")}
    return found or {ANNOTATION: {"original_key": TASK_INDEX}}


def _camera_key(column: str) -> str:
    name = re.sub(r"^observation\.(images?|rgb)?\.?", "", column)
    return re.sub(r"[^\w]+", "_", name) or "camera"


def _names(feature: Mapping[str, Any]) -> list[str] | None:
    """A name for each dimension; None where there are none."""
    found, width = feature.get("names"), width_of(feature) or 0
    while isinstance(found, Mapping) and found:  # {"motors": [...]}
        found = next(iter(found.values()))
    while isinstance(found, list) and len(found) == 1 and isinstance(found[0], list):
        found = found[0]
    if not isinstance(found, list) or len(found) != width:
        return None
    return [str(name) for name in found]


def _keys(features: Mapping[str, Any], columns: list[str], default: str) -> dict[str, dict[str, Any]]:
    """Keys of the columns, with their places."""
    keys: dict[str, dict[str, Any]] = {}
    for column in columns:
        fallback = re.sub(r"^(observation|action)\.(state\.)?", "", column).replace(".", "_")
        start, names = 0, _names(features[column])
        runs = [(fallback, width_of(features[column]) or 0)]
        if names is not None:
            runs = [(name, len(list(run))) for name, run in groupby(_groups(names, fallback))]
        for name, width in runs:
            end = start + width
            unique = next(n for n in (name, *(f"{name}_{i}" for i in range(2, 999))) if n not in keys)
            keys[unique] = {"start": start, "end": end} | ({} if column == default else {"original_key": column})
            start = end
    return keys


def _groups(names: list[str], fallback: str) -> list[str]:
    """Which key each dimension belongs to, by its name."""
    plain = [_SUFFIX.sub("", name.lower()) for name in names]
    stems = [_NUMBER.sub("", name) for name in plain]
    if all(stem != name and stem for stem, name in zip(stems, plain, strict=True)):
        return [re.sub(r"\W+", "_", stem) for stem in stems]
    if not all(plain):
        return [fallback] * len(names)
    sides = [match.group(1) + "_" if (match := _SIDE.match(name)) else "" for name in plain]
    kinds = ["gripper" if _GRIPPER.search(name) else "arm" for name in plain]
    if "gripper" not in kinds and not any(sides):
        return [fallback] * len(names)
    single = not any(sides)
    return [
        f"{side}{'single_' if single and kind == 'arm' else ''}{kind}" for side, kind in zip(sides, kinds, strict=True)
    ]
