# SPDX-License-Identifier: BSD-3-Clause
"""The Eagle vision-language backbone: SigLIP2 image tokens placed into a Qwen3 prompt."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3Model, Qwen3RotaryEmbedding
from transformers.models.siglip.configuration_siglip import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipVisionModel

from ..tokens import Grid, Prompt
from .config import Gr00tN1d5Config


@contextlib.contextmanager
def _without_autotuning() -> Iterator[None]:
    """Keep cuDNN from timing all its algorithms for every new number of pictures, which Isaac Lab's train asks it to.

    Another number of envs decides each time.
    """
    asked = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = asked


def build_vision_model(config: Gr00tN1d5Config, implementation: str) -> SiglipVisionModel:
    """SigLIP2 with its pooling head, which the checkpoint holds but nothing uses: kept frozen and never run."""
    cfg = config.vision
    hf = SiglipVisionConfig(
        hidden_size=cfg.hidden_size,
        intermediate_size=cfg.intermediate_size,
        num_hidden_layers=cfg.num_hidden_layers,
        num_attention_heads=cfg.num_attention_heads,
        image_size=cfg.image_size,
        patch_size=cfg.patch_size,
        layer_norm_eps=cfg.layer_norm_eps,
        hidden_act="gelu_pytorch_tanh",
    )
    hf._attn_implementation = implementation
    model = SiglipVisionModel(hf)
    # Its weights must survive a save; a trainable parameter without a gradient would stop DDP.
    model.head.requires_grad_(False)
    model.use_head = False
    return model


class LanguageModel(nn.Module):
    """Qwen3 cut to its first ``select_layer`` layers, without the language head."""

    def __init__(self, config: Gr00tN1d5Config, implementation: str):
        super().__init__()
        cfg = config.text
        hf = Qwen3Config(
            hidden_size=cfg.hidden_size,
            intermediate_size=cfg.intermediate_size,
            num_hidden_layers=config.select_layer,
            num_attention_heads=cfg.num_attention_heads,
            num_key_value_heads=cfg.num_key_value_heads,
            head_dim=cfg.head_dim,
            vocab_size=cfg.vocab_size,
            rms_norm_eps=cfg.rms_norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": float(cfg.rope_theta)},
            max_position_embeddings=cfg.max_position_embeddings,
            # The release's 0.02 at full size; a tiny model with 0.02 would hardly mix its tokens.
            initializer_range=cfg.hidden_size**-0.5,
            use_cache=False,
        )
        hf._attn_implementation = implementation
        self.model = Qwen3Model(hf)

    def _apply(self, fn, recurse=True):
        """Move or cast, but keep the rotary frequencies in float32: in bf16 distant positions would coincide."""
        super()._apply(fn, recurse)
        if not self.model.embed_tokens.weight.is_meta:
            self.rebuild_buffers()
        return self

    def rebuild_buffers(self) -> None:
        """Recompute the rotary frequencies, which no checkpoint holds, on the weights' device."""
        weight = self.model.embed_tokens.weight
        with torch.device("cpu"):
            rotary = Qwen3RotaryEmbedding(config=self.model.config)
        # Buffers are moved one by one: Module.to() of this package's callers may be under way.
        for name, buffer in rotary.named_buffers():
            setattr(self.model.rotary_emb, name, buffer.to(weight.device))


class EagleModel(nn.Module):
    """Image encoder, projector and language model, under the checkpoint's names."""

    def __init__(self, config: Gr00tN1d5Config, implementation: str):
        super().__init__()
        self.image_token_index = config.image_token_index
        self.tokens_per_image = config.tokens_per_image
        self.image_size = config.vision.image_size
        self.vision_model = build_vision_model(config, implementation)
        self.mlp1 = nn.Sequential(nn.Linear(config.vision.hidden_size, config.text.hidden_size))
        self.language_model = LanguageModel(config, implementation)
        self._checked_layouts: set[tuple[int, int, int]] = set()

    def rebuild_buffers(self) -> None:
        """Recompute the buffers that no checkpoint holds."""
        embeddings = self.vision_model.embeddings
        device = embeddings.position_embedding.weight.device
        embeddings.position_ids = torch.arange(embeddings.num_positions, device=device)[None]
        self.language_model.rebuild_buffers()

    def vision_features(self, pixel_values: Tensor) -> Tensor:
        """Images [N, 3, S, S] -> [N, tokens_per_image, vision hidden_size], before the projector."""
        size = self.image_size
        if pixel_values.ndim != 4 or pixel_values.shape[1:] != (3, size, size):
            raise ValueError(
                f"eagle_pixel_values is {list(pixel_values.shape)}, expected [B * views, 3, {size}, {size}]: "
                "resize the images to that"
            )
        with _without_autotuning():
            return self.vision_model(pixel_values=pixel_values).last_hidden_state

    def read(self, prompt: Prompt, image_tokens: Tensor | None) -> Tensor:
        """Prompts and the tokens of their images [B, n, D] -> features [B, T, D], after the final norm."""
        language, ids = self.language_model.model, prompt.input_ids
        if prompt.traced is not None:
            assert image_tokens is not None
            embeds = torch.cat((prompt.traced.embeds, image_tokens), dim=1).index_select(1, prompt.traced.order)
            return language(inputs_embeds=embeds, attention_mask=prompt.traced.causal_mask).last_hidden_state
        embeds = language.embed_tokens(ids)  # [B, T, D]
        is_image = ids == self.image_token_index  # [B, T]
        self._check_layout(is_image, 0 if image_tokens is None else image_tokens.shape[1] // self.tokens_per_image)
        if image_tokens is not None:
            # Filled in row order: sample by sample, and within a sample view by view. No host round trip.
            embeds = embeds.masked_scatter(is_image.unsqueeze(-1), image_tokens.to(embeds.dtype))
        return language(inputs_embeds=embeds, attention_mask=prompt.attention_mask).last_hidden_state

    def _check_layout(self, is_image: Tensor, views: int) -> None:
        # Counting waits for the device, so only the first batch of each layout is counted.
        batch, length = is_image.shape
        if (batch, length, views) in self._checked_layouts:
            return
        counts = is_image.sum(dim=1)
        if bool((counts != views * self.tokens_per_image).any()):
            raise ValueError(
                f"eagle_input_ids has {counts.unique().tolist()} image tokens per sample, but {views} images a sample "
                f"of {self.tokens_per_image} tokens need {views * self.tokens_per_image}: "
                "give the prompt of as many views as there are images"
            )
        self._checked_layouts.add((batch, length, views))


class Backbone(nn.Module):
    """``backbone.eagle_model`` of the checkpoint; see ``generations.py`` for what its methods are to do."""

    lora_targets: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "vision": ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
        "llm": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    }

    def __init__(self, config: Gr00tN1d5Config, implementation: str = "sdpa"):
        super().__init__()
        self.eagle_model = EagleModel(config, implementation)
        self.kept_widths = (config.vision.hidden_size, config.text.hidden_size)

    def part_modules(self) -> dict[str, tuple[nn.Module, ...]]:
        """Modules of each part. SigLIP's pooling head is in none: nothing uses it, and it stays as it is."""
        eagle = self.eagle_model
        vision = eagle.vision_model
        return {
            "vision": (vision.embeddings, vision.encoder, vision.post_layernorm),
            "mlp1": (eagle.mlp1,),
            "llm": (eagle.language_model,),
        }

    def vision(self, pixels: Tensor, grids: tuple[Grid, ...]) -> Tensor:
        """Images [B * views, 3, S, S] in [-1, 1], sample-major -> [B, n, vision width], before the projector.

        Raises:
            ValueError: images of another size, or another number of them.
        """
        if not grids or len(pixels) % len(grids):
            raise ValueError(
                f"{len(pixels)} images cannot be {len(grids)} a sample: give the prompt of as many views as there are "
                "images"
            )
        return self.eagle_model.vision_features(pixels).unflatten(0, (-1, len(grids))).flatten(1, 2)

    def project(self, x: Tensor) -> Tensor:
        """What :meth:`vision` returns -> image tokens [B, n, D]."""
        return self.eagle_model.mlp1(x)

    def embed(self, input_ids: Tensor) -> Tensor:
        """Embeddings of a prompt's tokens: [B, T] -> [B, T, D]."""
        return self.eagle_model.language_model.model.embed_tokens(input_ids)

    def read(self, prompt: Prompt, image_tokens: Tensor | None) -> Tensor:
        """Prompts and their image tokens -> features [B, T, D] in the type of the network, after the final norm.

        Raises:
            ValueError: a prompt for another number of images.
        """
        return self.eagle_model.read(prompt, image_tokens)

    def is_image(self, input_ids: Tensor) -> Tensor:
        """Which tokens of a prompt are an image's, bool like ``input_ids``."""
        return input_ids == self.eagle_model.image_token_index

    def rebuild_buffers(self) -> None:
        """Recompute the buffers that no checkpoint holds."""
        self.eagle_model.rebuild_buffers()
