# SPDX-License-Identifier: BSD-3-Clause
"""Sizes of a GR00T N1.7 network, and their two files on disk.

The defaults are the released 3B model. ``config.json`` is flat and holds the action head and the depth of the language
model; the sizes of the Qwen3-VL backbone are not in it (they ship with NVIDIA's model code), so an optional
``qwen3_vl_config.json`` beside it overrides the released ones. What of ``config.json`` the processor reads, such as
the size of pictures, stays in ``raw_config``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

from ..head_config import TRANSFORMER_KEYS, ActionHeadConfig
from ..json_sections import check_fixed, merge, numbers, section
from .sizes import TextConfig, VisionConfig

MODEL_TYPE = "Gr00tN1d7"
CONFIG_FILE, QWEN_FILE = "config.json", "qwen3_vl_config.json"

# What this network is; the released code has switches for more, which no N1.7 checkpoint uses.
_FIXED = {
    "backbone_model_type": "qwen",
    "use_alternate_vl_dit": True,
    "add_pos_embed": True,
    "use_vlln": True,
    "reproject_vision": False,
    "strict_action_padding_mask": False,
}
_DIT_FIXED = {"interleave_self_attention": True, "norm_type": "ada_norm", "positional_embeddings": None}
_VL_FIXED = {"positional_embeddings": None}
_QWEN_FIXED = {"tie_word_embeddings": True}
_RENAMED = {"action_dim": "max_action_dim"}
"""Our field -> its name in config.json."""
_NOT_IN_N1D7 = ("num_target_vision_tokens", "time_from_zero")


def _released_head() -> ActionHeadConfig:
    return ActionHeadConfig(
        action_dim=132,
        action_horizon=40,
        max_state_dim=132,
        num_target_vision_tokens=0,
        time_from_zero=True,
        attend_text_every_n_blocks=2,
        dit_layers=32,
    )


@dataclass(frozen=True)
class Gr00tN1d7Config:
    """All sizes of a GR00T N1.7 network.

    Raises:
        ValueError: sizes that cannot belong to one network, in one line.
    """

    generation: ClassVar[str] = "n1.7"
    files: ClassVar[tuple[str, ...]] = (CONFIG_FILE, QWEN_FILE)
    """What they are read from; the first one must be there."""

    vision: VisionConfig = field(default_factory=VisionConfig)
    text: TextConfig = field(default_factory=TextConfig)
    action_head: ActionHeadConfig = field(default_factory=_released_head)
    select_layer: int = 16
    """Layers of the language model that are kept; features are the last one's output, before the final norm."""
    image_token_id: int = 151655
    """Id of ``<|image_pad|>``, the token that an image token replaces."""
    video_token_id: int = 151656
    vision_start_token_id: int = 151652
    vision_end_token_id: int = 151653
    raw_config: Mapping[str, Any] = field(default_factory=lambda: _RELEASED, compare=False, repr=False)
    """The config.json this was read from, and what the release assumes where it says nothing: entries that we do not
    use survive a save."""
    raw_qwen_config: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        head = self.action_head
        head.check(self.text.hidden_size)
        if head.num_target_vision_tokens or not head.attend_text_every_n_blocks:
            raise ValueError(
                f"num_target_vision_tokens is {head.num_target_vision_tokens} and attend_text_every_n_blocks "
                f"{head.attend_text_every_n_blocks}, but GR00T N1.7 has none of the one and alternates: set 0 and 2"
            )
        if len(self.vision.deepstack_visual_indexes) > self.select_layer:
            raise ValueError(
                f"deepstack_visual_indexes has {len(self.vision.deepstack_visual_indexes)} entries, select_layer is "
                f"{self.select_layer}: keep at least as many layers"
            )
        if self.select_layer > self.text.num_hidden_layers:
            raise ValueError(
                f"select_layer is {self.select_layer}, num_hidden_layers {self.text.num_hidden_layers}: "
                "set at most that"
            )
        for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
            if not 0 <= getattr(self, name) < self.text.vocab_size:
                raise ValueError(
                    f"{name} {getattr(self, name)} is outside the vocabulary of {self.text.vocab_size}: enlarge it"
                )

    @property
    def feature_dim(self) -> int:
        """Width D of the vision-language features."""
        return self.text.hidden_size

    @property
    def image_token_index(self) -> int:
        """Id of the token that an image token replaces."""
        return self.image_token_id

    def tokens_of(self, grid: tuple[int, int, int]) -> int:
        """Image tokens of a picture of so many patches: frames, rows, columns."""
        frames, rows, columns = grid
        return frames * rows * columns // self.vision.merge_unit

    @classmethod
    def full_size(cls) -> Self:
        """The released 3B network (3144.02 M parameters)."""
        return cls()

    @classmethod
    def tiny(
        cls,
        *,
        image_size: int = 64,
        patch_size: int = 8,
        vision_hidden_size: int = 48,
        vision_layers: int = 2,
        vision_heads: int = 4,
        text_hidden_size: int = 64,
        text_layers: int = 2,
        text_heads: int = 4,
        text_kv_heads: int = 2,
        vocab_size: int = 512,
        image_token_index: int | None = None,
        hidden_size: int = 64,
        input_embedding_dim: int = 64,
        dit_layers: int = 4,
        dit_heads: int = 4,
        vl_layers: int = 1,
        vl_heads: int = 4,
        attend_text_every_n_blocks: int = 2,
        state_history_length: int = 1,
        action_horizon: int = 16,
        action_dim: int = 32,
        max_state_dim: int = 64,
        max_num_embodiments: int = 4,
        max_seq_len: int = 64,
    ) -> Self:
        """The same network small enough to train on a CPU.

        ``image_token_index`` defaults to the last id; the other ids of pictures stand before it. Head dims follow from
        width and heads; MLPs of the backbone are twice as wide as their model. Pictures become squares of
        ``image_size`` pixels, uncropped.
        """
        if image_size % (2 * patch_size):
            raise ValueError(f"image_size {image_size} is no multiple of 2 x patch_size {patch_size}: change one")
        head = ActionHeadConfig(
            hidden_size=hidden_size,
            input_embedding_dim=input_embedding_dim,
            backbone_embedding_dim=text_hidden_size,
            action_dim=action_dim,
            action_horizon=action_horizon,
            max_state_dim=max_state_dim,
            max_num_embodiments=max_num_embodiments,
            num_target_vision_tokens=0,
            time_from_zero=True,
            max_seq_len=max(max_seq_len, action_horizon),
            state_history_length=state_history_length,
            attend_text_every_n_blocks=attend_text_every_n_blocks,
            dit_layers=dit_layers,
            dit_heads=dit_heads,
            dit_head_dim=input_embedding_dim // dit_heads,
            vl_layers=vl_layers,
            vl_heads=vl_heads,
            vl_head_dim=text_hidden_size // vl_heads,
        )
        vision = VisionConfig(
            hidden_size=vision_hidden_size,
            intermediate_size=2 * vision_hidden_size,
            depth=vision_layers,
            num_heads=vision_heads,
            patch_size=patch_size,
            num_position_embeddings=(image_size // patch_size) ** 2,
            deepstack_visual_indexes=(0,),
        )
        text = _tiny_text(text_hidden_size, text_layers, text_heads, text_kv_heads, vocab_size)
        image_token = vocab_size - 1 if image_token_index is None else image_token_index
        pictures = {"image_target_size": [image_size, image_size], "image_crop_size": [image_size, image_size]}
        return cls(
            vision,
            text,
            head,
            select_layer=text_layers,
            image_token_id=image_token,
            video_token_id=image_token - 1,
            vision_start_token_id=image_token - 3,
            vision_end_token_id=image_token - 2,
            raw_config=merge(_RELEASED, pictures),
        )

    @classmethod
    def from_dicts(cls, config: Mapping[str, Any], qwen: Mapping[str, Any] | None = None) -> Self:
        """Read the contents of config.json and, if the folder has one, qwen3_vl_config.json.

        Raises:
            ValueError: another model type, a switch this network does not have, or a size that is not a number.
        """
        found = config.get("model_type")
        if found != MODEL_TYPE:
            raise ValueError(f"model_type is {found!r}, not {MODEL_TYPE!r}: give a GR00T N1.7 checkpoint")
        config, qwen = merge(_RELEASED, config), qwen or {}
        vision = VisionConfig.from_dict(section(qwen, "vision_config", required=False))
        text = TextConfig.from_dict(section(qwen, "text_config", required=False))
        check_fixed(qwen, _QWEN_FIXED, "GR00T N1.7")
        out = section(qwen, "vision_config", required=False).get("out_hidden_size", text.hidden_size)
        if out != text.hidden_size:
            raise ValueError(f"out_hidden_size is {out!r} but hidden_size {text.hidden_size}: make them equal")
        ids = {f.name: qwen[f.name] for f in fields(cls) if f.name.endswith("_token_id") and f.name in qwen}
        return cls(
            vision=vision,
            text=text,
            action_head=_read_head(config),
            **numbers(cls, {"select_layer": config.get("select_layer", cls.select_layer), **ids}),
            raw_config=config,
            raw_qwen_config=copy.deepcopy(dict(qwen)),
        )

    @classmethod
    def from_files(cls, files: Mapping[str, Mapping[str, Any]]) -> Self:
        """Read the contents of the :attr:`files` that there are, by name. Raises what :meth:`from_dicts` does."""
        return cls.from_dicts(files[CONFIG_FILE], files.get(QWEN_FILE))

    def to_files(self, dtype_name: str) -> dict[str, dict[str, Any]]:
        """Contents of the :attr:`files`, by name."""
        return {CONFIG_FILE: self.to_config_dict(dtype_name), QWEN_FILE: self.to_qwen_dict()}

    def to_config_dict(self, dtype_name: str) -> dict[str, Any]:
        """Contents of config.json for weights stored as ``dtype_name`` (such as ``"bfloat16"``)."""
        names = [f.name for f in fields(ActionHeadConfig) if f.name not in _NOT_IN_N1D7]
        head = {_RENAMED.get(name, name): getattr(self.action_head, name) for name in names}
        dit, vl = (
            {key: head.pop(f"{prefix}_{ours}") for ours, key in TRANSFORMER_KEYS.items()} for prefix in ("dit", "vl")
        )
        ours = {
            **head,
            **_FIXED,
            "model_type": MODEL_TYPE,
            "architectures": [MODEL_TYPE],
            "dtype": dtype_name,
            "select_layer": self.select_layer,
            "diffusion_model_cfg": {**dit, **_DIT_FIXED, "output_dim": self.action_head.hidden_size},
            "vl_self_attention_cfg": {**vl, **_VL_FIXED},
        }
        return merge(self.raw_config, ours)

    def to_qwen_dict(self) -> dict[str, Any]:
        """Contents of qwen3_vl_config.json."""
        ours = {
            **{f.name: getattr(self, f.name) for f in fields(self) if f.name.endswith("_token_id")},
            **_QWEN_FIXED,
            "text_config": self.text.to_dict(),
            "vision_config": self.vision.to_dict(self.text.hidden_size),
        }
        return merge(self.raw_qwen_config, ours)


def _tiny_text(width: int, layers: int, heads: int, kv_heads: int, vocab_size: int) -> TextConfig:
    """A small language model, whose MLPs are twice as wide as it."""
    head_dim = width // heads
    third = head_dim // 6
    return TextConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        vocab_size=vocab_size,
        mrope_section=(head_dim // 2 - 2 * third, third, third),
    )


def _read_head(config: Mapping[str, Any]) -> ActionHeadConfig:
    """Sizes of the action head in config.json; the released ones where it says nothing."""
    dit, vl = section(config, "diffusion_model_cfg"), section(config, "vl_self_attention_cfg")
    for table, fixed in ((config, _FIXED), (dit, _DIT_FIXED), (vl, _VL_FIXED)):
        check_fixed(table, fixed, "GR00T N1.7")
    ours = {theirs: name for name, theirs in _RENAMED.items()}
    flat = {ours.get(key, key): value for key, value in config.items() if key not in ours.values()}
    # only what config.json has under these names
    flat = {k: v for k, v in flat.items() if k not in _NOT_IN_N1D7 and not k.startswith(("dit_", "vl_"))}
    for prefix, table in (("dit", dit), ("vl", vl)):
        flat |= {f"{prefix}_{name}": table[key] for name, key in TRANSFORMER_KEYS.items() if key in table}
    released = _released_head()
    sizes = {f.name: getattr(released, f.name) for f in fields(released)}
    head = ActionHeadConfig(**{**sizes, **numbers(ActionHeadConfig, flat)})
    output = dit.get("output_dim", head.hidden_size)
    if output != head.hidden_size:
        raise ValueError(f"output_dim is {output!r} but hidden_size {head.hidden_size}: make them equal")
    return head


# What the released classes assume where config.json says nothing, besides the sizes.
_RELEASED: dict[str, Any] = {
    "model_dtype": "bfloat16",
    "model_name": "nvidia/Cosmos-Reason2-2B",
    "model_revision": None,
    "tune_top_llm_layers": 0,
    "tune_llm": False,
    "tune_visual": False,
    "use_flash_attention": False,
    "load_bf16": False,
    "backbone_trainable_params_fp32": True,
    "image_crop_size": [230, 230],
    "image_target_size": [256, 256],
    "shortest_image_edge": None,
    "crop_fraction": None,
    "random_rotation_angle": None,
    "color_jitter_params": None,
    "use_albumentations_transforms": True,
    "extra_augmentation_config": None,
    "formalize_language": True,
    "apply_sincos_state_encoding": False,
    "use_percentiles": True,
    "use_relative_action": False,
    "attn_dropout": 0.2,
    "diffusion_model_cfg": {"final_dropout": True},
    "vl_self_attention_cfg": {"final_dropout": True},
    "tune_projector": True,
    "tune_diffusion_model": True,
    "tune_vlln": True,
    "state_dropout_prob": 0.2,
    "exclude_state": False,
    "use_mean_std": False,
    "rtc_ramp_rate": 6.0,
}
