# SPDX-License-Identifier: BSD-3-Clause
"""How a checkpoint's pictures, texts, states and actions were treated in training: its ``processor_config.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from ...utils.foreign_files import is_count, parse_json
from ..errors import CheckpointError
from .config import CONFIG_FILE

PROCESSOR_FILE = "processor_config.json"
PREPROCESSOR_FILE = "preprocessor_config.json"

QWEN_PIXELS = (65536, 16777216)
"""Least and most pixels of a picture that Qwen3-VL's own processor leaves as large as it is."""

MAX_SIDE = 2**14
"""Of pictures [px]; a larger number is none."""

_UNSUPPORTED = {"use_tactile": False}
_SIZES = ("image_target_size", "image_crop_size")


@dataclass(frozen=True)
class Recipe:
    """Treatment of pictures, texts, states and actions. Where a file says nothing, the release's defaults hold.

    Raises:
        CheckpointError: A combination that no picture can be treated by.
    """

    image_target_size: tuple[int, int] | None = None
    """(height, width) [px]; None: pictures keep theirs."""
    image_crop_size: tuple[int, int] | None = None
    shortest_image_edge: int | None = None
    crop_fraction: float | None = None
    use_albumentations: bool = True
    """OpenCV's resizing, otherwise torchvision's."""
    letter_box_transform: bool = False
    """Pad to a square first."""
    pixel_limits: tuple[int, int] = QWEN_PIXELS
    formalize_language: bool = True
    use_percentiles: bool = False
    clip_outliers: bool = True
    apply_sincos_state_encoding: bool = False
    use_relative_action: bool = False
    exclude_state: bool = False
    embodiments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Embodiment tag -> modality -> its config, of the embodiments that the checkpoint knows."""
    written: bool = False
    """Whether there is a ``processor_config.json``: then its switches hold for a new embodiment too."""

    def __post_init__(self) -> None:
        if self.image_crop_size and not self.image_target_size and self.crop_fraction is None:
            raise CheckpointError(
                f"the checkpoint's {self.file} says image_crop_size is {list(self.image_crop_size)}, but "
                "image_target_size and crop_fraction are null: set one"
            )
        fraction = self.crop_fraction
        is_part = fraction is None or 0 < fraction <= 1
        _expect(is_part, self.file, "crop_fraction", fraction, "more than 0, at most 1")

    @classmethod
    def read(cls, assets: Mapping[str, bytes], raw_config: Mapping[str, Any] | None = None) -> Self:
        """Read a checkpoint's files; ``raw_config`` is config.json, for those without a ``processor_config.json``.

        Raises:
            CheckpointError: A file that is not readable, or asks for what is not supported.
        """
        content = read_table(assets, PROCESSOR_FILE)
        written = content is not None
        table = (content or {}).get("processor_kwargs")
        if written and not (table and isinstance(table, dict)):
            raise CheckpointError(f"the checkpoint's {PROCESSOR_FILE} has no processor_kwargs: copy it again")
        if written:
            # the defaults of the released class, where an old file lacks an entry
            table = {"shortest_image_edge": 256, "crop_fraction": 0.95, "use_albumentations": False, **(table or {})}
        else:
            table = dict(raw_config or {})
            table["use_albumentations"] = table.get("use_albumentations_transforms", True)
        _check_switches(table, PROCESSOR_FILE if written else CONFIG_FILE)
        known = {name: table[name] for name in _SWITCHES if table.get(name) is not None}
        sizes: dict[str, Any] = {name: tuple(table[name]) if table.get(name) else None for name in _SIZES}
        return cls(
            **sizes,
            shortest_image_edge=table.get("shortest_image_edge"),
            crop_fraction=table.get("crop_fraction"),
            pixel_limits=_pixel_limits(assets, None if written else sizes["image_target_size"]),
            embodiments=_embodiments(table.get("modality_configs")) if written else {},
            written=written,
            **known,
        )

    def modality(self, tag: str, part: str) -> Mapping[str, Any]:
        """Config of the modality ``part`` ("video", "state", ...) of an embodiment; empty where it has none."""
        return self.embodiments.get(tag, {}).get(part) or {}

    @property
    def file(self) -> str:
        """Where it was read."""
        return PROCESSOR_FILE if self.written else CONFIG_FILE

    @property
    def scaling(self) -> str:
        """How the release scales keys to [-1, 1], in our words."""
        return "q99" if self.use_percentiles else "min_max"


_SWITCHES = (
    *("use_albumentations", "letter_box_transform", "formalize_language", "use_percentiles", "clip_outliers"),
    *("apply_sincos_state_encoding", "use_relative_action", "exclude_state"),
)


def read_table(assets: Mapping[str, bytes], name: str) -> dict[str, Any] | None:
    """Content of a JSON file; None where there is none.

    Raises:
        CheckpointError: It is no table.
    """
    if name not in assets:
        return None
    try:
        content = parse_json(assets[name])
    except ValueError as error:
        raise CheckpointError(f"the checkpoint's {name} is no JSON ({error}): copy it again from the source") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"the checkpoint's {name} is no table: copy it again from the source")
    return content


# -- checks of what a file says ----------------------------------------------------------------------------------------


def _expect(is_right: bool, file: str, name: str, value: Any, expected: str) -> None:
    """Refuse an entry ``name`` of a file, unless it is right."""
    if not is_right:
        shown = json.dumps(value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        raise CheckpointError(f"the checkpoint's {file} says {name} is {shown}: set {expected}")


def _is_count(value: Any) -> bool:
    return is_count(value, 1)


def _is_side(value: Any) -> bool:
    return _is_count(value) and value <= MAX_SIDE


def _are(kind: type, value: Any) -> bool:
    return isinstance(value, list) and all(type(entry) is kind for entry in value)


def _check_switches(table: Mapping[str, Any], file: str) -> None:
    """Of pictures, texts, states and actions; null is the default."""
    for name, only in _UNSUPPORTED.items():
        value = table.get(name, only)
        _expect(value == only, file, name, value, f"{json.dumps(only)}, all that is supported")
    for name in _SWITCHES:
        value = table.get(name)
        _expect(value is None or isinstance(value, bool), file, name, value, "true or false")
    for name in _SIZES:
        value = table.get(name)
        is_size = isinstance(value, list) and len(value) == 2 and all(map(_is_side, value))
        _expect(value is None or is_size, file, name, value, "[height, width] in pixels, or null")
    edge, fraction = table.get("shortest_image_edge"), table.get("crop_fraction")
    _expect(edge is None or _is_side(edge), file, "shortest_image_edge", edge, "a number of pixels, or null")
    is_number = isinstance(fraction, (int, float)) and not isinstance(fraction, bool)
    _expect(fraction is None or is_number, file, "crop_fraction", fraction, "a number, or null")


def _embodiments(value: Any) -> Mapping[str, Mapping[str, Any]]:
    """The table ``modality_configs``, in which every embodiment is as the rest of this folder reads it."""
    value = {} if value is None else value
    _expect(isinstance(value, dict), PROCESSOR_FILE, "modality_configs", value, "a table of embodiments")
    for tag, parts in value.items():
        name = f"modality_configs.{tag}"
        _expect(isinstance(parts, dict), PROCESSOR_FILE, name, parts, "a table of video, state, action and language")
        for part in ("video", "state", "action", "language"):
            config = parts.get(part)
            if config is None:
                continue
            _expect(isinstance(config, dict), PROCESSOR_FILE, f"{name}.{part}", config, "a table")
            if part != "language":  # which is written again as it is
                _check_modality(f"{name}.{part}", config)
    return value


def _check_modality(name: str, config: Mapping[str, Any]) -> None:
    keys, steps = config.get("modality_keys"), config.get("delta_indices")
    _expect(_are(str, keys), PROCESSOR_FILE, f"{name}.modality_keys", keys, "a list of names")
    are_steps = steps is None or (bool(steps) and _are(int, steps))
    _expect(are_steps, PROCESSOR_FILE, f"{name}.delta_indices", steps, "a list of integers")
    for entry in ("sin_cos_embedding_keys", "mean_std_embedding_keys"):
        names = config.get(entry)
        _expect(names is None or _are(str, names), PROCESSOR_FILE, f"{name}.{entry}", names, "a list of names, or null")
    tables = config.get("action_configs")
    if tables is None:
        return
    one_each = _are(dict, tables) and len(tables) == len(keys or ())
    expected = f"a table for each of {len(keys or ())} modality_keys, or null"
    _expect(one_each, PROCESSOR_FILE, f"{name}.action_configs", tables, expected)
    for index, table in enumerate(tables):
        where, rep, state = f"{name}.action_configs[{index}]", table.get("rep"), table.get("state_key")
        _expect(isinstance(rep, str), PROCESSOR_FILE, f"{where}.rep", rep, "RELATIVE, ABSOLUTE or DELTA")
        _expect(state is None or isinstance(state, str), PROCESSOR_FILE, f"{where}.state_key", state, "a name, or null")


def _pixel_limits(assets: Mapping[str, bytes], target: tuple[int, int] | None) -> tuple[int, int]:
    """Bounds of a picture's area, from the image processor's own file; ``target``: pictures that stay as they are."""
    table = read_table(assets, PREPROCESSOR_FILE)
    least, most = QWEN_PIXELS
    if table is not None:
        size = table.get("size") or {}
        _expect(isinstance(size, dict), PREPROCESSOR_FILE, "size", size, "a table of shortest_edge and longest_edge")
        least = size.get("shortest_edge") or table.get("min_pixels") or least
        most = size.get("longest_edge") or table.get("max_pixels") or most
        in_order = _is_count(least) and _is_count(most) and least <= most
        _expect(in_order, PREPROCESSOR_FILE, "size", [least, most], "numbers of pixels, at least and at most")
    elif target is not None:
        least = min(least, target[0] * target[1])
    return least, most
