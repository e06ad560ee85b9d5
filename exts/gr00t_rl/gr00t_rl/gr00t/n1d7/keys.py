# SPDX-License-Identifier: BSD-3-Clause
"""Whether the keys that a user declares are those that the checkpoint was trained on, treated alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..modality import ActionKey, Modality, StateKey
from ..normalise import SIN_COS
from .recipe import PROCESSOR_FILE, Recipe
from .relative import Relative
from .scaling import NEEDS


def check_keys(recipe: Recipe, modality: Modality, relative: Mapping[str, Relative]) -> None:
    """Compare an embodiment's keys with the checkpoint's ``processor_config.json``.

    Raises:
        ValueError: A mode that the release does not have, or keys that differ from the checkpoint's.
    """
    for part, keys in (("state", modality.state), ("action", modality.action)):
        for name, key in keys.items():
            if key.normalization not in (None, *NEEDS):
                raise ValueError(
                    f"{part}.{name}.normalization is {key.normalization!r}, which GR00T N1.7 has not; set one of "
                    f"{', '.join(NEEDS)}"
                )
    if modality.embodiment_tag in recipe.embodiments:
        _check_order(recipe, modality)
    for part, keys in (("state", modality.state), ("action", modality.action)):
        for name, key in keys.items():
            is_relative = part == "action" and name in relative
            expected = expected_modes(recipe, modality.embodiment_tag, part, name, is_relative)
            why = f"the checkpoint's {PROCESSOR_FILE} says otherwise"
            if is_relative and "min_max" in expected:
                why = "the actions are relative, for which percentiles are not used"
            if expected and mode_of(key) not in expected:
                what = "normalization=None with sin_cos=True" if expected[0] == SIN_COS else repr(expected[0])
                raise ValueError(f"{part}.{name}.normalization is {mode_of(key)!r}, but {why}; set {what}")


def in_order(recipe: Recipe, modality: Modality) -> Modality:
    """The modality with the keys that the checkpoint has of the embodiment, in its order; others are left out.

    Actions then follow each other in this order. A part that lacks one of the checkpoint's keys stays as it is.
    """
    parts: dict[str, Any] = {"video": modality.video, "state": modality.state, "action": modality.action}
    for part, keys in parts.items():
        known = recipe.modality(modality.embodiment_tag, part).get("modality_keys")
        if known and set(known) <= set(keys):
            parts[part] = {name: keys[name] for name in known}
    if parts["action"].keys() != modality.action.keys():
        position = 0
        for name, key in parts["action"].items():
            parts["action"][name] = dataclasses.replace(key, start=position, end=position + key.dim)
            position += key.dim
    return dataclasses.replace(modality, **parts)


def scaled(recipe: Recipe, modality: Modality, relative: Mapping[str, Relative]) -> Modality:
    """The modality with each key treated as the checkpoint treats it, where it says how."""
    parts: dict[str, Any] = {"state": dict(modality.state), "action": dict(modality.action)}
    for part, keys in parts.items():
        for name, key in keys.items():
            is_relative = part == "action" and name in relative
            expected = expected_modes(recipe, modality.embodiment_tag, part, name, is_relative)
            if expected and mode_of(key) not in expected:
                mode = {"sin_cos": True, "normalization": None} if expected[0] == SIN_COS else {}
                keys[name] = dataclasses.replace(key, **(mode or {"normalization": expected[0]}))
    return dataclasses.replace(modality, **parts)


def mode_of(key: StateKey | ActionKey) -> str | None:
    """How a key is treated: a mode, ``SIN_COS`` or None."""
    return key.mode if isinstance(key, StateKey) else key.normalization


def expected_modes(recipe: Recipe, tag: str, part: str, name: str, relative: bool) -> list[str | None]:
    """Modes that a key may have; empty where any is right."""
    scaling = "min_max" if relative else recipe.scaling
    config = recipe.modality(tag, part)
    if config:
        if (
            part == "state"
            and recipe.apply_sincos_state_encoding
            and name in (config.get("sin_cos_embedding_keys") or ())
        ):
            return [SIN_COS]
        return ["mean_std", None] if name in (config.get("mean_std_embedding_keys") or ()) else [scaling]
    if relative:
        return ["min_max", "mean_std"]
    # percentiles or extremes is one switch for all embodiments
    return [scaling, "mean_std", None, SIN_COS] if recipe.written else []


def _check_order(recipe: Recipe, modality: Modality) -> None:
    tag = modality.embodiment_tag
    for part, keys in (("video", modality.video), ("state", modality.state), ("action", modality.action)):
        known = recipe.modality(tag, part).get("modality_keys")
        if known is not None and list(keys) != list(known) and (keys or part != "video"):
            raise ValueError(
                f"{part} has the keys {list(keys)}, but the checkpoint's {PROCESSOR_FILE} has {list(known)} "
                f"for {tag!r}; set these, in this order"
            )
    if modality.video:
        check_present(recipe, tag, "video", "pictures")


def check_consecutive(recipe: Recipe, tag: str) -> None:
    """Make sure that a chunk's actions follow each other from the decision on, one per step.

    Raises:
        ValueError: They do not.
    """
    steps = recipe.modality(tag, "action").get("delta_indices") or []
    if steps != list(range(len(steps))):
        raise ValueError(
            f"embodiment_tag is {tag!r}, whose action.delta_indices in the checkpoint's {PROCESSOR_FILE} is {steps}: "
            "chunks that do not begin now, or leave steps out, are not supported; set another"
        )


def check_present(recipe: Recipe, tag: str, part: str, what: str) -> None:
    """Make sure that a decision of an embodiment takes the present alone.

    Raises:
        ValueError: It takes the past too.
    """
    frames = recipe.modality(tag, part).get("delta_indices") or [0]
    if frames != [0]:
        raise ValueError(
            f"embodiment_tag is {tag!r}, whose {part}.delta_indices in the checkpoint's {PROCESSOR_FILE} is {frames}: "
            f"{what} of the past are not supported; set another"
        )
