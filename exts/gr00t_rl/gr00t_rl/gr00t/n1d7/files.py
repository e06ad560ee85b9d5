# SPDX-License-Identifier: BSD-3-Clause
"""A new embodiment in a checkpoint's files, so that the release treats it as we do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..modality import ActionKey, Modality, Statistics
from ..normalise import SIN_COS, STATISTICS
from .keys import mode_of
from .recipe import PREPROCESSOR_FILE, PROCESSOR_FILE, QWEN_PIXELS, Recipe, read_table
from .relative import Relative, declared_relative, read_relative
from .statistics import STATISTICS_FILE, check_key

EMBODIMENT_FILE = "embodiment_id.json"

_FORMATS = {"xyz+rot6d": "XYZ_ROT6D", "xyz+rotvec": "XYZ_ROTVEC"}
_MEAN_STD = ("mean_std", None)
"""Modes of keys that the files name as ``mean_std``; None, values that stay as they are, by a mean of 0 and a deviation
of 1.
"""
_LANGUAGE = {"delta_indices": [0], "modality_keys": ["annotation.human.task_description"]}


def files_with(
    assets: Mapping[str, bytes],
    config: Any,
    modality: Modality,
    statistics: Statistics,
    image_sizes: Mapping[str, tuple[int, int]],
    embodiment_id: int | None,
) -> dict[str, bytes]:
    """``assets`` with an embodiment in them, so that the release treats it as we do; others stay.

    Args:
        assets: File name -> content.
        config: Sizes of the network.
        modality: The embodiment's keys.
        statistics: Of all state and action keys, every name in ``STATISTICS``, in the units of the env.
        image_sizes: (height, width) of each of the embodiment's cameras [px].
        embodiment_id: Row of the per-embodiment weights; None: what the file says.

    Raises:
        CheckpointError: ``assets`` that are not readable.
        ValueError: Statistics that are missing, or keys that the release cannot treat so beside its other embodiments.
    """
    tag = modality.embodiment_tag
    before = Recipe.read(assets, config.raw_config)
    relative = _relative(before, modality)
    kwargs = (read_table(assets, PROCESSOR_FILE) or {}).get("processor_kwargs")
    kwargs = dict(kwargs or _new_kwargs(before, config, next(iter(image_sizes.values()), None)))
    kwargs |= _switches(before, modality, relative)
    others = dict(kwargs.get("modality_configs") or {})
    kwargs["modality_configs"] = others | {tag: _modality_config(others.get(tag) or {}, config, modality, relative)}
    processor = {"processor_class": "Gr00tN1d7Processor", "processor_kwargs": kwargs}
    tables = _statistics_table(modality, statistics, relative)
    files = {
        **assets,
        PROCESSOR_FILE: _json(processor),
        STATISTICS_FILE: _json((read_table(assets, STATISTICS_FILE) or {}) | {tag: tables}),
    }
    ids = read_table(assets, EMBODIMENT_FILE) or {}
    if embodiment_id is not None:
        if ids.get(tag, embodiment_id) != embodiment_id:
            raise ValueError(
                f"embodiment_id is {embodiment_id}, but {EMBODIMENT_FILE} says {ids[tag]} for {tag!r}; set that, or "
                "another embodiment_tag"
            )
        files[EMBODIMENT_FILE] = _json(ids | {tag: embodiment_id})
    if PREPROCESSOR_FILE not in assets and before.pixel_limits != QWEN_PIXELS:
        least, most = before.pixel_limits
        files[PREPROCESSOR_FILE] = _json({"size": {"shortest_edge": least, "longest_edge": most}})
    return files


def _relative(recipe: Recipe, modality: Modality) -> dict[str, Relative]:
    """As the keys declare; where none does, as the checkpoint says of the same keys."""
    declared = declared_relative(modality)
    known = recipe.modality(modality.embodiment_tag, "action").get("modality_keys") or []
    return read_relative(recipe, modality) if not declared and list(modality.action) == list(known) else declared


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _new_kwargs(recipe: Recipe, config: Any, image_size: tuple[int, int] | None) -> dict[str, Any]:
    """``processor_kwargs`` of a network that had none, whose first camera's pictures are (height, width) [px]."""
    head = config.action_head
    target, crop = recipe.image_target_size, recipe.image_crop_size
    fraction = recipe.crop_fraction
    if target is None and recipe.shortest_image_edge is None and image_size is not None:
        # pictures stayed as they were: a resize to their own size
        target = crop = image_size
        fraction = 1.0
    return {
        "modality_configs": {},
        "image_crop_size": crop and list(crop),
        "image_target_size": target and list(target),
        "use_albumentations": recipe.use_albumentations,
        "random_rotation_angle": None,
        "color_jitter_params": None,
        "shortest_image_edge": recipe.shortest_image_edge,
        "crop_fraction": fraction,
        "letter_box_transform": recipe.letter_box_transform,
        "model_name": config.raw_config.get("model_name") or "nvidia/Cosmos-Reason2-2B",
        "model_type": "qwen",
        "formalize_language": recipe.formalize_language,
        "max_state_dim": head.max_state_dim,
        "max_action_dim": head.action_dim,
        "max_action_horizon": head.action_horizon,
        "use_percentiles": recipe.use_percentiles,
        "use_mean_std": False,
        "clip_outliers": recipe.clip_outliers,
        "apply_sincos_state_encoding": recipe.apply_sincos_state_encoding,
        "use_relative_action": recipe.use_relative_action,
        "exclude_state": recipe.exclude_state,
        "state_dropout_prob": 0.0,
    }


def _switches(recipe: Recipe, modality: Modality, relative: Mapping[str, Relative]) -> dict[str, bool]:
    """What is one switch for all embodiments: set for this one, where no other minds.

    Raises:
        ValueError: Another one minds, or the keys differ among themselves.
    """
    tag, keys = modality.embodiment_tag, {f"state.{name}": mode_of(key) for name, key in modality.state.items()}
    keys |= {f"action.{name}": mode_of(key) for name, key in modality.action.items() if name not in relative}
    others = [other for other in recipe.embodiments if other != tag]
    scaled = {mode for mode in keys.values() if mode in ("min_max", "q99")}
    if len(scaled) > 1:
        raise ValueError("the keys' normalization is both 'min_max' and 'q99', which is one switch; set one for all")
    percentiles = scaled == {"q99"} if scaled else recipe.use_percentiles
    if others and percentiles != recipe.use_percentiles:
        name = next(name for name, mode in keys.items() if mode in scaled)
        raise ValueError(
            f"{name}.normalization is {keys[name]!r}, but the checkpoint's {PROCESSOR_FILE} has use_percentiles="
            f"{recipe.use_percentiles} for {', '.join(others[:3])} too; set {recipe.scaling!r}"
        )
    wanted = {"apply_sincos_state_encoding": SIN_COS in keys.values(), "use_relative_action": bool(relative)}
    switches = {"use_percentiles": percentiles}
    for switch, on in wanted.items():
        now = getattr(recipe, switch)
        if on and not now and any(_minds(recipe, other, switch) for other in others):
            raise ValueError(f"the keys need {switch}, which is false in {PROCESSOR_FILE} for others; set other keys")
        switches[switch] = now or on
    return switches


def _minds(recipe: Recipe, tag: str, switch: str) -> bool:
    """Whether an embodiment would be treated in another way with ``switch`` on."""
    if switch == "apply_sincos_state_encoding":
        return bool(recipe.modality(tag, "state").get("sin_cos_embedding_keys"))
    tables = recipe.modality(tag, "action").get("action_configs") or []
    return any(str(table.get("rep")).upper() == "RELATIVE" for table in tables)


def _modality_config(
    before: Mapping[str, Any], config: Any, modality: Modality, relative: Mapping[str, Relative]
) -> dict[str, Any]:
    """The embodiment's entry in ``modality_configs``."""
    head = config.action_head
    states, actions = modality.state, modality.action
    plain = {"sin_cos_embedding_keys": None, "mean_std_embedding_keys": None, "action_configs": None}
    result: dict[str, Any] = {
        "state": {
            **plain,
            "delta_indices": list(range(1 - head.state_history_length, 1)),
            "modality_keys": list(states),
            "sin_cos_embedding_keys": [name for name, key in states.items() if key.sin_cos] or None,
            "mean_std_embedding_keys": [n for n, key in states.items() if mode_of(key) in _MEAN_STD] or None,
        },
        "action": {
            **plain,
            "delta_indices": list(range(head.action_horizon)),
            "modality_keys": list(actions),
            "mean_std_embedding_keys": [n for n, key in actions.items() if mode_of(key) in _MEAN_STD] or None,
            "action_configs": [_action_config(key, relative.get(name)) for name, key in actions.items()],
        },
        "language": before.get("language") or {**plain, **_LANGUAGE},
    }
    if modality.video:
        result = {"video": {**plain, "delta_indices": [0], "modality_keys": list(modality.video)}, **result}
    return result


def _action_config(key: ActionKey, relative: Relative | None) -> dict[str, Any]:
    if relative is None:
        rep = "ABSOLUTE" if key.absolute else "DELTA"
        return {"rep": rep, "type": "NON_EEF", "format": "DEFAULT", "state_key": None}
    if relative.pose is None:
        return {"rep": "RELATIVE", "type": "NON_EEF", "format": "DEFAULT", "state_key": relative.state}
    return {"rep": "RELATIVE", "type": "EEF", "format": _FORMATS[relative.pose], "state_key": relative.state}


def _statistics_table(
    modality: Modality, statistics: Statistics, relative: Mapping[str, Relative]
) -> dict[str, dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = {}
    found = {"state": statistics.state, "action": statistics.action, "relative_action": statistics.relative_action}
    keys = [("state", name, key) for name, key in modality.state.items()]
    keys += [("action", name, key) for name, key in modality.action.items()]
    keys += [("relative_action", name, modality.action[name]) for name in relative]
    for part, name, key in keys:
        check_key(part, name, key, found[part], STATISTICS)
        table = {statistic: found[part][name][statistic].tolist() for statistic in STATISTICS}
        if mode_of(key) is None:
            table |= {"mean": [0.0] * key.dim, "std": [1.0] * key.dim}
        tables.setdefault(part, {})[name] = table
    return tables
