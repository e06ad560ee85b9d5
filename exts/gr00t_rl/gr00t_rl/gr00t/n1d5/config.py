# SPDX-License-Identifier: BSD-3-Clause
"""Sizes of a GR00T N1.5 network, and their two files on disk.

The defaults are the released 3B model. ``config.json`` holds the action head and the depth of the language model;
the sizes of the Eagle backbone are not in it (they ship with NVIDIA's model code), so an optional
``eagle_config.json`` beside it overrides the released ones.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

from ..head_config import TRANSFORMER_KEYS, ActionHeadConfig
from ..json_sections import check_fixed, merge, numbers, section

MODEL_TYPE = "gr00t_n1_5"
CONFIG_FILE, EAGLE_FILE = "config.json", "eagle_config.json"
_NOT_IN_N1D5 = ("state_history_length", "attend_text_every_n_blocks", "time_from_zero")


@dataclass(frozen=True)
class VisionConfig:
    """SigLIP2 image encoder."""

    hidden_size: int = 1152
    intermediate_size: int = 4304
    num_hidden_layers: int = 27
    num_attention_heads: int = 16
    image_size: int = 224
    """Side S of the square input image, in pixels."""
    patch_size: int = 14
    layer_norm_eps: float = 1e-6

    @property
    def tokens_per_image(self) -> int:
        """Tokens the language model sees per image: one per patch."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class TextConfig:
    """Qwen3 language model, as released: only its first ``select_layer`` layers are kept."""

    hidden_size: int = 2048
    intermediate_size: int = 6144
    num_hidden_layers: int = 28
    """Depth before the cut; the network has ``Gr00tN1d5Config.select_layer`` layers."""
    num_attention_heads: int = 16
    num_key_value_heads: int = 8
    head_dim: int = 128
    vocab_size: int = 151680
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1e6
    max_position_embeddings: int = 40960


# What this network is; the released code has switches for more, which no N1.5 checkpoint uses.
_HEAD_FIXED = {"use_vlln": True, "add_pos_embed": True}
_DIT_FIXED = {"interleave_self_attention": True, "norm_type": "ada_norm", "positional_embeddings": None}
_BACKBONE_FIXED = {"project_to_dim": None}
_EAGLE_FIXED = {"use_pixel_shuffle": False, "mlp_connector_layers": 1}


@dataclass(frozen=True)
class Gr00tN1d5Config:
    """All sizes of a GR00T N1.5 network.

    Raises:
        ValueError: sizes that cannot belong to one network, in one line.
    """

    generation: ClassVar[str] = "n1.5"
    files: ClassVar[tuple[str, ...]] = (CONFIG_FILE, EAGLE_FILE)
    """What they are read from; the first one must be there."""

    vision: VisionConfig = field(default_factory=VisionConfig)
    text: TextConfig = field(default_factory=TextConfig)
    action_head: ActionHeadConfig = field(default_factory=ActionHeadConfig)
    select_layer: int = 12
    """Layers of the language model that are kept; features are the last one's output after the final norm."""
    image_token_index: int = 151669
    """Id of ``<IMG_CONTEXT>``, the token that an image token replaces."""
    raw_config: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """The config.json this was read from: entries we do not use survive a save."""
    raw_eagle_config: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        head, text, vision = self.action_head, self.text, self.vision
        head.check(text.hidden_size)
        if vision.image_size % vision.patch_size:
            raise ValueError(
                f"image_size {vision.image_size} is no multiple of patch_size {vision.patch_size}: change one"
            )
        if vision.hidden_size % vision.num_attention_heads:
            raise ValueError(
                f"vision width {vision.hidden_size} is no multiple of its {vision.num_attention_heads} heads: "
                "change one"
            )
        if not 0 <= self.image_token_index < text.vocab_size:
            raise ValueError(
                f"image_token_index {self.image_token_index} is outside the vocabulary of {text.vocab_size}: enlarge it"
            )
        if text.num_attention_heads % text.num_key_value_heads:
            raise ValueError(
                f"{text.num_attention_heads} heads are no multiple of {text.num_key_value_heads} key-value heads: "
                "change one"
            )

    @property
    def feature_dim(self) -> int:
        """Width D of the vision-language features."""
        return self.text.hidden_size

    @property
    def grid(self) -> tuple[int, int, int]:
        """Patches of an image."""
        side = self.vision.image_size // self.vision.patch_size
        return 1, side, side

    @property
    def tokens_per_image(self) -> int:
        """Tokens per image, (S / patch)^2."""
        return self.vision.tokens_per_image

    @classmethod
    def full_size(cls) -> Self:
        """The released 3B network (2413.52 M parameters)."""
        return cls()

    @classmethod
    def tiny(
        cls,
        *,
        image_size: int = 64,
        patch_size: int = 16,
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
        dit_layers: int = 2,
        dit_heads: int = 4,
        vl_layers: int = 1,
        vl_heads: int = 4,
        num_target_vision_tokens: int = 4,
        action_horizon: int = 16,
        action_dim: int = 32,
        max_state_dim: int = 64,
        max_num_embodiments: int = 4,
        max_seq_len: int = 64,
    ) -> Self:
        """The same network small enough to train on a CPU. ``image_token_index`` defaults to the last id.

        Head dims follow from width and heads; MLPs of the backbone are twice as wide as their model.
        """
        head = ActionHeadConfig(
            hidden_size=hidden_size,
            input_embedding_dim=input_embedding_dim,
            backbone_embedding_dim=text_hidden_size,
            action_dim=action_dim,
            action_horizon=action_horizon,
            max_state_dim=max_state_dim,
            max_num_embodiments=max_num_embodiments,
            num_target_vision_tokens=num_target_vision_tokens,
            max_seq_len=max(max_seq_len, action_horizon),
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
            num_hidden_layers=vision_layers,
            num_attention_heads=vision_heads,
            image_size=image_size,
            patch_size=patch_size,
        )
        text = TextConfig(
            hidden_size=text_hidden_size,
            intermediate_size=2 * text_hidden_size,
            num_hidden_layers=text_layers,
            num_attention_heads=text_heads,
            num_key_value_heads=text_kv_heads,
            head_dim=text_hidden_size // text_heads,
            vocab_size=vocab_size,
        )
        image_token = vocab_size - 1 if image_token_index is None else image_token_index
        return cls(vision, text, head, select_layer=text_layers, image_token_index=image_token)

    @classmethod
    def from_dicts(cls, config: Mapping[str, Any], eagle: Mapping[str, Any] | None = None) -> Self:
        """Read the contents of config.json and, if the folder has one, eagle_config.json.

        Raises:
            ValueError: another model type, a switch this network does not have, or a size that is not a number.
        """
        found = config.get("model_type")
        if found != MODEL_TYPE:
            raise ValueError(f"model_type is {found!r}, not {MODEL_TYPE!r}: give a GR00T N1.5 checkpoint")
        head, backbone = section(config, "action_head_cfg"), section(config, "backbone_cfg")
        dit, vl = section(head, "diffusion_model_cfg"), section(head, "vl_self_attention_cfg")
        eagle = eagle or {}
        for table, fixed in (
            (head, _HEAD_FIXED),
            (dit, _DIT_FIXED),
            (backbone, _BACKBONE_FIXED),
            (eagle, _EAGLE_FIXED),
        ):
            check_fixed(table, fixed, "GR00T N1.5")
        flat = {k: v for k, v in head.items() if k not in ("dropout", *_NOT_IN_N1D5)}
        for prefix, table in (("dit", dit), ("vl", vl)):
            flat |= {f"{prefix}_{ours}": table[key] for ours, key in TRANSFORMER_KEYS.items() if key in table}
        text = dict(section(eagle, "text_config", required=False))
        # transformers 5 moves rope_theta into rope_parameters
        text = {**section(text, "rope_parameters", required=False), **text}
        return cls(
            vision=VisionConfig(**numbers(VisionConfig, section(eagle, "vision_config", required=False))),
            text=TextConfig(**numbers(TextConfig, text)),
            action_head=ActionHeadConfig(**numbers(ActionHeadConfig, flat)),
            **numbers(cls, {"select_layer": backbone.get("select_layer", cls.select_layer)}),
            **numbers(cls, {"image_token_index": eagle.get("image_token_index", cls.image_token_index)}),
            raw_config=copy.deepcopy(dict(config)),
            raw_eagle_config=copy.deepcopy(dict(eagle)),
        )

    @classmethod
    def from_files(cls, files: Mapping[str, Mapping[str, Any]]) -> Self:
        """Read the contents of the :attr:`files` that there are, by name. Raises what :meth:`from_dicts` does."""
        return cls.from_dicts(files[CONFIG_FILE], files.get(EAGLE_FILE))

    def to_files(self, dtype_name: str) -> dict[str, dict[str, Any]]:
        """Contents of the :attr:`files`, by name."""
        return {CONFIG_FILE: self.to_config_dict(dtype_name), EAGLE_FILE: self.to_eagle_dict()}

    def to_config_dict(self, dtype_name: str) -> dict[str, Any]:
        """Contents of config.json for weights stored as ``dtype_name`` (such as ``"bfloat16"``)."""
        names = [f.name for f in fields(ActionHeadConfig) if f.name not in _NOT_IN_N1D5]
        head = {name: getattr(self.action_head, name) for name in names}
        parts = {
            prefix: {key: head.pop(f"{prefix}_{ours}") for ours, key in TRANSFORMER_KEYS.items()}
            for prefix in ("dit", "vl")
        }
        dit = {
            **parts["dit"],
            **_DIT_FIXED,
            "cross_attention_dim": self.action_head.backbone_embedding_dim,
            "output_dim": self.action_head.hidden_size,
            "final_dropout": True,
        }
        vl = {**parts["vl"], "final_dropout": True, "positional_embeddings": None}
        ours = {
            "model_type": MODEL_TYPE,
            "architectures": ["GR00T_N1_5"],
            "action_dim": self.action_head.action_dim,
            "action_horizon": self.action_head.action_horizon,
            "hidden_size": self.text.hidden_size,
            "torch_dtype": dtype_name,
            "action_head_cfg": {
                **head,
                **_HEAD_FIXED,
                "max_action_dim": self.action_head.action_dim,
                "diffusion_model_cfg": dit,
                "vl_self_attention_cfg": vl,
            },
            "backbone_cfg": {"select_layer": self.select_layer, **_BACKBONE_FIXED},
        }
        return merge(_NEW_CONFIG if not self.raw_config else self.raw_config, ours)

    def to_eagle_dict(self) -> dict[str, Any]:
        """Contents of eagle_config.json."""
        ours = {
            "vision_config": {
                "model_type": "siglip_vision_model",
                "hidden_act": "gelu_pytorch_tanh",
                **{f.name: getattr(self.vision, f.name) for f in fields(VisionConfig)},
            },
            "text_config": {
                "model_type": "qwen3",
                "architectures": ["Qwen3ForCausalLM"],
                "tie_word_embeddings": True,
                **{f.name: getattr(self.text, f.name) for f in fields(TextConfig)},
            },
            "select_layer": -1,
            "force_image_size": self.vision.image_size,
            "downsample_ratio": 0.5,
            "image_token_index": self.image_token_index,
            **_EAGLE_FIXED,
        }
        return merge(self.raw_eagle_config, ours)


# What the released classes also expect in a config.json that was not read from one.
_NEW_CONFIG: dict[str, Any] = {
    "action_head_cfg": {
        "tune_projector": True,
        "tune_diffusion_model": True,
        "expand_batch": None,
        "model_dtype": "float32",
    },
    "attn_implementation": None,
    "backbone_cfg": {
        "reproject_vision": False,
        "tune_llm": False,
        "tune_visual": True,
        "use_flash_attention": True,
        "load_bf16": False,
    },
    "compute_dtype": "bfloat16",
    "model_dtype": "float32",
}
