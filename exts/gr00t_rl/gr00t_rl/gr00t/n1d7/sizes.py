# SPDX-License-Identifier: BSD-3-Clause
"""Sizes of the Qwen3-VL backbone and its table in ``qwen3_vl_config.json``; the defaults are the released 2B model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..json_sections import check_fixed, numbers, section

_NAME = "GR00T N1.7"
_VISION_FIXED = {"hidden_act": "gelu_pytorch_tanh", "in_channels": 3}
_TEXT_FIXED = {"hidden_act": "silu", "attention_bias": False}
_ROPE_FIXED = {"rope_type": "default", "mrope_interleaved": True}


@dataclass(frozen=True)
class VisionConfig:
    """Image encoder."""

    hidden_size: int = 1024
    intermediate_size: int = 4096
    depth: int = 24
    num_heads: int = 16
    patch_size: int = 16
    temporal_patch_size: int = 2
    """Frames that a patch spans; a picture is given as that many equal ones."""
    spatial_merge_size: int = 2
    """Side of the square of patches that become one image token."""
    num_position_embeddings: int = 2304
    """A square number: positions are interpolated in that many cells."""
    deepstack_visual_indexes: tuple[int, ...] = (5, 11, 17)
    """Blocks whose outputs are added to the image tokens after the first layers of the language model, in turn."""

    def __post_init__(self) -> None:
        if self.hidden_size % (4 * self.num_heads):
            raise ValueError(
                f"vision width {self.hidden_size} is no multiple of 4 x {self.num_heads} heads, as rotary positions in "
                "rows and columns need: change one"
            )
        if round(self.num_position_embeddings**0.5) ** 2 != self.num_position_embeddings:
            raise ValueError(
                f"num_position_embeddings is {self.num_position_embeddings}, no square number: set one such as 2304"
            )
        if sorted({*self.deepstack_visual_indexes} & {*range(self.depth)}) != sorted(self.deepstack_visual_indexes):
            raise ValueError(
                f"deepstack_visual_indexes is {list(self.deepstack_visual_indexes)}, not different blocks of "
                f"{self.depth}: set such"
            )

    @property
    def patch_values(self) -> int:
        """Numbers in a flattened patch: channels, frames, rows, columns."""
        return 3 * self.temporal_patch_size * self.patch_size**2

    @property
    def merge_unit(self) -> int:
        """Patches of an image token."""
        return self.spatial_merge_size**2

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> VisionConfig:
        """Read the section ``vision_config``."""
        check_fixed(table, _VISION_FIXED, _NAME)
        single = {k: v for k, v in table.items() if k != "deepstack_visual_indexes"}
        indexes = _integers(table, "deepstack_visual_indexes", cls.deepstack_visual_indexes)
        return cls(**numbers(cls, single), deepstack_visual_indexes=indexes)

    def to_dict(self, out_hidden_size: int) -> dict[str, Any]:
        """The section ``vision_config``."""
        return {
            "model_type": "qwen3_vl",
            **_VISION_FIXED,
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "deepstack_visual_indexes": list(self.deepstack_visual_indexes),
            "out_hidden_size": out_hidden_size,
        }


@dataclass(frozen=True)
class TextConfig:
    """Language model, as released: only its first ``select_layer`` layers are kept."""

    hidden_size: int = 2048
    intermediate_size: int = 6144
    num_hidden_layers: int = 28
    """Depth before the cut; the network has ``Gr00tN1d7Config.select_layer`` layers."""
    num_attention_heads: int = 16
    num_key_value_heads: int = 8
    head_dim: int = 128
    vocab_size: int = 151936
    rms_norm_eps: float = 1e-6
    rope_theta: float = 5e6
    mrope_section: tuple[int, ...] = (24, 20, 20)
    """Rotary frequencies that turn with a token's frame, row and column; text turns all alike."""
    max_position_embeddings: int = 262144

    def __post_init__(self) -> None:
        heads, kv_heads = self.num_attention_heads, self.num_key_value_heads
        if heads % kv_heads:
            raise ValueError(f"{heads} heads are no multiple of {kv_heads} key-value heads: change one")
        half, section = self.head_dim / 2, self.mrope_section
        # frequencies alternate between the three as long as rows and columns last, the rest are the frames'
        if len(section) != 3 or sum(section) != half or 3 * max(section[1:]) > half:
            raise ValueError(
                f"mrope_section is {list(section)}, not three that sum to {half:g} (half of head_dim), the last two at "
                "most a third of it: set such"
            )

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> TextConfig:
        """Read the section ``text_config``, in the way of transformers 4 or 5."""
        # transformers 5 moves rope_theta and rope_scaling into rope_parameters
        rope = {
            **section(table, "rope_parameters", required=False),
            **section(table, "rope_scaling", required=False),
        }
        check_fixed(rope, _ROPE_FIXED, _NAME)
        check_fixed(table, _TEXT_FIXED, _NAME)
        mrope = _integers(rope, "mrope_section", cls.mrope_section)
        single = {k: v for k, v in {**rope, **table}.items() if k != "mrope_section"}
        return cls(**numbers(cls, single), mrope_section=mrope)

    def to_dict(self) -> dict[str, Any]:
        """The section ``text_config``."""
        ours = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "mrope_section"}
        return {
            "model_type": "qwen3_vl_text",
            **_TEXT_FIXED,
            "tie_word_embeddings": True,
            **ours,
            "rope_scaling": {**_ROPE_FIXED, "mrope_section": list(self.mrope_section)},
        }


def _integers(table: Mapping[str, Any], key: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """A list of integers."""
    found = table.get(key, default)
    if not isinstance(found, Sequence) or not all(type(entry) is int and entry >= 0 for entry in found):
        raise ValueError(f"{key} is {found!r}, not a list of integers: take the file from the original checkpoint")
    return tuple(found)
