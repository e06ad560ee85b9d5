# SPDX-License-Identifier: BSD-3-Clause
"""The Qwen3-VL vision-language backbone: image tokens placed into a prompt, and added again after the first layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..tokens import Grid, Prompt
from .config import Gr00tN1d7Config
from .language import LanguageModel, mrope_positions
from .vision import Vision


class Backbone(nn.Module):
    """``backbone`` of the checkpoint; see ``generations.py`` for what its methods are to do."""

    lora_targets: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "vision": ("qkv", "proj", "linear_fc1", "linear_fc2"),
        "llm": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    }

    def __init__(self, config: Gr00tN1d7Config, implementation: str = "sdpa"):
        super().__init__()
        self.config = config
        self.visual = Vision(config, implementation)
        self.language_model = LanguageModel(config, implementation)
        levels = 1 + len(config.vision.deepstack_visual_indexes)
        self.kept_widths = (levels * config.vision.hidden_size, levels * config.text.hidden_size)
        self._checked_layouts: set[tuple[int, int, tuple[Grid, ...]]] = set()

    def part_modules(self) -> dict[str, tuple[nn.Module, ...]]:
        """Modules of each part. The final norm is in none: nothing uses it, and it stays as it is."""
        visual, language = self.visual.model, self.language_model.model
        return {
            "vision": (visual.patch_embed, visual.pos_embed, visual.blocks),
            "mlp1": (visual.merger, visual.deepstack_merger_list),
            "llm": (language.embed_tokens, language.layers),
        }

    def vision(self, pixels: Tensor, grids: tuple[Grid, ...]) -> Tensor:
        """Patches [B * n, values of a patch], sample-major -> [B, n, W * (1 + K)], before the projectors.

        Kept are the outputs of the last block and of the K whose features join later, side by side.

        Raises:
            ValueError: patches of another size, or another number of them.
        """
        return self.visual.features(pixels, grids)

    def project(self, x: Tensor) -> Tensor:
        """What :meth:`vision` returns -> image tokens [B, m, D * (1 + K)]."""
        return self.visual.merge(x)

    def embed(self, input_ids: Tensor) -> Tensor:
        """Embeddings of a prompt's tokens: [B, T] -> [B, T, D]."""
        return self.language_model.model.embed_tokens(input_ids)

    def read(self, prompt: Prompt, image_tokens: Tensor | None) -> Tensor:
        """Prompts and their image tokens -> features [B, T, D] in the type of the network, before the final norm.

        Raises:
            ValueError: a prompt for other images.
        """
        if prompt.traced is not None:
            embeds, seen = prompt.traced.embeds, prompt.traced.causal_mask
        else:
            self._check_layout(prompt, image_tokens)
            embeds, seen = self.embed(prompt.input_ids), _seen(prompt.attention_mask)
        levels = [] if image_tokens is None else list(image_tokens.to(embeds.dtype).split(embeds.shape[-1], dim=-1))
        place = self._placing(prompt)
        nothing = torch.zeros_like(embeds[:1, :1]).expand_as(embeds)
        deep = (place(nothing, tokens) for tokens in levels[1:])
        x = place(embeds, levels[0]) if levels else embeds
        return self.language_model(x, self._positions(prompt), seen, deep)

    def _placing(self, prompt: Prompt) -> Callable[[Tensor, Tensor], Tensor]:
        """A function that puts image tokens [B, m, D] in their places among those of a prompt [B, T, D]."""
        if prompt.traced is not None:
            order = prompt.traced.order
            return lambda x, tokens: torch.cat((x, tokens), dim=1).index_select(1, order)
        is_image = self.is_image(prompt.input_ids)
        # Taken in row order: sample by sample, and within a sample picture by picture. No host round trip.
        rows = (is_image.flatten().cumsum(0) - 1).clamp(min=0)

        def place(x: Tensor, tokens: Tensor) -> Tensor:
            return torch.where(is_image[..., None], tokens.flatten(0, 1).index_select(0, rows).view(x.shape), x)

        return place

    def _positions(self, prompt: Prompt) -> Tensor:
        if prompt.position_ids is not None:
            return prompt.position_ids
        return mrope_positions(
            prompt.input_ids,
            prompt.attention_mask,
            prompt.grids,
            self.config.image_token_id,
            self.config.vision.spatial_merge_size,
        )

    def _check_layout(self, prompt: Prompt, image_tokens: Tensor | None) -> None:
        # Counting waits for the device, so only the first batch of each layout is counted.
        grids = () if image_tokens is None else prompt.grids
        batch, length = prompt.input_ids.shape
        layout = (batch, length, grids)
        if layout in self._checked_layouts:
            return
        counts = self.is_image(prompt.input_ids).sum(dim=1)
        expected = sum(self.config.tokens_of(grid) for grid in grids)
        if bool((counts != expected).any()):
            raise ValueError(
                f"input_ids has {counts.unique().tolist()} image tokens per sample, but {len(grids)} images a sample "
                f"need {expected}: give the prompt of as many views as there are images"
            )
        self._checked_layouts.add(layout)

    def is_image(self, input_ids: Tensor) -> Tensor:
        """Which tokens of a prompt are an image's, bool like ``input_ids``."""
        return input_ids == self.config.image_token_id

    def rebuild_buffers(self) -> None:
        """Recompute the buffers that no checkpoint holds: there are none."""


def _seen(attention_mask: Tensor | None) -> Tensor | None:
    """What each token attends to, bool [B, 1, T, T], from where they are tokens [B, T]."""
    if attention_mask is None:
        return None
    length = attention_mask.shape[1]
    before = torch.ones(length, length, dtype=torch.bool, device=attention_mask.device).tril()
    return attention_mask.bool()[:, None, None, :] & before
