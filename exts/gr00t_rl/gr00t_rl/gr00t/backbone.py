# SPDX-License-Identifier: BSD-3-Clause
"""The Eagle vision-language backbone: SigLIP2 image tokens placed into a Qwen3 prompt."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3Model, Qwen3RotaryEmbedding
from transformers.models.siglip.configuration_siglip import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipVisionModel

from .config import Gr00tN1d5Config


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
        return self.vision_model(pixel_values=pixel_values).last_hidden_state

    def image_tokens(self, pixel_values: Tensor) -> Tensor:
        """Images [N, 3, S, S] -> [N, tokens_per_image, D]"""
        return self.mlp1(self.vision_features(pixel_values))

    def read(self, input_ids: Tensor, attention_mask: Tensor | None, image_tokens: Tensor | None) -> Tensor:
        """Prompt [B, T] and the tokens of its images [N, tokens_per_image, D], sample-major -> features [B, T, D]."""
        embeds = self.language_model.model.embed_tokens(input_ids)  # [B, T, D]
        is_image = input_ids == self.image_token_index  # [B, T]
        self._check_layout(is_image, 0 if image_tokens is None else image_tokens.shape[0])
        if image_tokens is not None:
            # Filled in row order: sample by sample, and within a sample view by view. No host round trip.
            embeds = embeds.masked_scatter(is_image.unsqueeze(-1), image_tokens.to(embeds.dtype))
        return self.language_model.model(inputs_embeds=embeds, attention_mask=attention_mask).last_hidden_state

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None, pixel_values: Tensor | None) -> Tensor:
        """Features [B, T, D]; see :meth:`Backbone.forward`."""
        tokens = None if pixel_values is None else self.image_tokens(pixel_values)
        return self.read(input_ids, attention_mask, tokens)

    def _check_layout(self, is_image: Tensor, num_images: int) -> None:
        # Counting waits for the device, so only the first batch of each layout is counted.
        batch, length = is_image.shape
        if (batch, length, num_images) in self._checked_layouts:
            return
        per_sample, rest = divmod(num_images * self.tokens_per_image, batch)
        counts = is_image.sum(dim=1)
        if rest or bool((counts != per_sample).any()):
            needed = num_images * self.tokens_per_image / batch
            raise ValueError(
                f"eagle_input_ids has {counts.unique().tolist()} image tokens per sample, but {num_images} images "
                f"of {self.tokens_per_image} tokens for {batch} samples need {needed:g}: "
                "give the prompt of as many views as there are images"
            )
        self._checked_layouts.add((batch, length, num_images))


class Backbone(nn.Module):
    """``backbone.eagle_model`` of the checkpoint."""

    def __init__(self, config: Gr00tN1d5Config, implementation: str = "sdpa"):
        super().__init__()
        self.eagle_model = EagleModel(config, implementation)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, pixel_values: Tensor | None = None
    ) -> Tensor:
        """Vision-language features.

        Args:
            input_ids: [B, T] long, with ``tokens_per_image`` image tokens per view.
            attention_mask: [B, T] long, 0 at left pads; None when nothing is padded.
            pixel_values: [B * views, 3, S, S] in [-1, 1], sample-major; None for a prompt without images.

        Returns:
            [B, T, D] in the type of the network, after the final norm.

        Raises:
            ValueError: images of another size, or a prompt for another number of images.
        """
        return self.eagle_model(input_ids, attention_mask, pixel_values)
