# SPDX-License-Identifier: BSD-3-Clause
"""How a checkpoint's pictures, texts, states and actions were treated in training: its ``processor_config.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

PROCESSOR_FILE = "processor_config.json"
PREPROCESSOR_FILE = "preprocessor_config.json"

QWEN_PIXELS = (65536, 16777216)
"""Least and most pixels of a picture that Qwen3-VL's own processor leaves as large as it is."""

_UNSUPPORTED = {"use_tactile": False}
_SIZES = ("image_target_size", "image_crop_size")


@dataclass(frozen=True)
class Recipe:
    """Treatment of pictures, texts, states and actions. Where a file says nothing, the release's defaults hold.

    Raises:
        ValueError: A combination that no picture can be treated by.
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
            raise ValueError(
                f"image_crop_size is {list(self.image_crop_size)} but image_target_size and crop_fraction are null: "
                f"set one in {PROCESSOR_FILE}"
            )
        if self.crop_fraction is not None and not 0 < self.crop_fraction <= 1:
            raise ValueError(f"crop_fraction is {self.crop_fraction} in {PROCESSOR_FILE}: set more than 0, at most 1")

    @classmethod
    def read(cls, assets: Mapping[str, bytes], raw_config: Mapping[str, Any] | None = None) -> Self:
        """Read a checkpoint's files; ``raw_config`` is config.json, for those without a ``processor_config.json``.

        Raises:
            ValueError: A file that is not readable, or asks for what is not supported.
        """
        content = read_table(assets, PROCESSOR_FILE)
        written = content is not None
        table = dict((content or {}).get("processor_kwargs") or {})
        if written and not table:
            raise ValueError(f"{PROCESSOR_FILE} has no processor_kwargs: copy it again from the checkpoint")
        if written:
            # the defaults of the released class, where an old file lacks an entry
            table = {"shortest_image_edge": 256, "crop_fraction": 0.95, "use_albumentations": False} | table
        else:
            table = dict(raw_config or {})
            table["use_albumentations"] = table.get("use_albumentations_transforms", True)
        for name, expected in _UNSUPPORTED.items():
            if table.get(name, expected) != expected:
                raise ValueError(f"{name} is {table[name]!r}, which is not supported: give a checkpoint without it")
        known = {name: table[name] for name in _SWITCHES if table.get(name) is not None}
        sizes = {name: _size(name, table.get(name)) for name in _SIZES}
        return cls(
            **sizes,
            shortest_image_edge=table.get("shortest_image_edge"),
            crop_fraction=table.get("crop_fraction"),
            pixel_limits=_pixel_limits(assets, None if written else sizes["image_target_size"]),
            embodiments=table.get("modality_configs") or {} if written else {},
            written=written,
            **known,
        )

    def modality(self, tag: str, part: str) -> Mapping[str, Any]:
        """Config of the modality ``part`` ("video", "state", ...) of an embodiment; empty where it has none."""
        return self.embodiments.get(tag, {}).get(part) or {}

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
        ValueError: It is no table.
    """
    if name not in assets:
        return None
    try:
        content = json.loads(assets[name])
    except ValueError as error:
        raise ValueError(f"the checkpoint's {name} is no JSON ({error}): copy it again from the source") from None
    if not isinstance(content, dict):
        raise ValueError(f"the checkpoint's {name} is no table: copy it again from the source")
    return content


def _size(name: str, value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 2 and all(isinstance(v, int) and v > 0 for v in value):
        return value[0], value[1]
    raise ValueError(f"{name} is {value!r}: set [height, width] in pixels, or null")


def _pixel_limits(assets: Mapping[str, bytes], target: tuple[int, int] | None) -> tuple[int, int]:
    """Bounds of a picture's area, from the image processor's own file; ``target``: pictures that stay as they are."""
    table = read_table(assets, PREPROCESSOR_FILE)
    least, most = QWEN_PIXELS
    if table is not None:
        size = table.get("size") or {}
        least = size.get("shortest_edge") or table.get("min_pixels") or least
        most = size.get("longest_edge") or table.get("max_pixels") or most
    elif target is not None:
        least = min(least, target[0] * target[1])
    return least, most
