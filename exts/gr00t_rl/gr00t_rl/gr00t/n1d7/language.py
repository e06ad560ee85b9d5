# SPDX-License-Identifier: BSD-3-Clause
"""The language model of Qwen3-VL, cut to its first layers, and the positions of its tokens in three dimensions.

The layers are transformers', the forward pass is ours: its last layer's output is taken before the final norm, image
features join after the first layers, and nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLTextConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextModel, apply_rotary_pos_emb

from ..attention import attend_causal
from ..tokens import Grid
from .config import Gr00tN1d7Config


class LanguageModel(nn.Module):
    """``language_model`` of the checkpoint, as ``model``, without the language head."""

    def __init__(self, config: Gr00tN1d7Config, implementation: str):
        super().__init__()
        cfg = config.text
        self.config, self.implementation = cfg, implementation
        hf = Qwen3VLTextConfig(
            hidden_size=cfg.hidden_size,
            intermediate_size=cfg.intermediate_size,
            num_hidden_layers=config.select_layer,
            num_attention_heads=cfg.num_attention_heads,
            num_key_value_heads=cfg.num_key_value_heads,
            head_dim=cfg.head_dim,
            vocab_size=cfg.vocab_size,
            rms_norm_eps=cfg.rms_norm_eps,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": float(cfg.rope_theta),
                "mrope_section": list(cfg.mrope_section),
            },
            max_position_embeddings=cfg.max_position_embeddings,
            # The release's 0.02 at full size; a tiny model with 0.02 would hardly mix its tokens.
            initializer_range=cfg.hidden_size**-0.5,
            use_cache=False,
        )
        self.model: Any = Qwen3VLTextModel(hf)
        del self.model.rotary_emb  # a buffer for what depends on sizes alone, see :meth:`_rotary`
        # Its weights must survive a save; a trainable parameter without a gradient would stop DDP.
        self.model.norm.requires_grad_(False)

    def forward(self, x: Tensor, positions: Tensor, seen: Tensor | None, deep: Iterator[Tensor]) -> Tensor:
        """Embeddings [B, T, D] -> the last layer's output [B, T, D].

        Args:
            x: embeddings of text and pictures.
            positions: long [3, B, T], frame, row and column.
            seen: what a token attends to, see :func:`attend_causal`.
            deep: what is added after the first layers, one [B, T, D] for each; taken when its turn comes.
        """
        cos, sin = self._rotary(positions, x.dtype)
        for layer in self.model.layers:
            x = x + self._attend(layer.self_attn, layer.input_layernorm(x), cos, sin, seen)
            x = x + layer.mlp(layer.post_attention_layernorm(x))
            added = next(deep, None)
            if added is not None:
                x = x + added
        return x

    def _attend(self, attention: Any, x: Tensor, cos: Tensor, sin: Tensor, seen: Tensor | None) -> Tensor:
        """[B, T, D] -> [B, T, D]"""
        heads = (-1, self.config.head_dim)
        q = attention.q_norm(attention.q_proj(x).unflatten(-1, heads)).transpose(1, 2)  # [B, heads, T, head_dim]
        k = attention.k_norm(attention.k_proj(x).unflatten(-1, heads)).transpose(1, 2)
        v = attention.v_proj(x).unflatten(-1, heads).transpose(1, 2)
        q, k = apply_rotary_pos_emb(q, k, cos, sin)
        return attention.o_proj(attend_causal(q, k, v, self.implementation, seen))

    def _rotary(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the rotary angles of ``positions`` [3, B, T], computed in float32: [B, T, head_dim].

        There is no buffer of frequencies, which a cast to bfloat16 would round until distant positions coincide.
        """
        cfg, device = self.config, positions.device
        index = torch.arange(cfg.head_dim // 2, device=device)
        turn = 1.0 / (cfg.rope_theta ** (2 * index.float() / cfg.head_dim))
        # frequencies turn with frame, row, column, frame, row, ... as long as rows and columns last
        axis = index % 3
        left = torch.where(axis == 1, 3 * cfg.mrope_section[1], 3 * cfg.mrope_section[2])
        axis = torch.where(index < left, axis, 0)
        angles = positions.index_select(0, axis).permute(1, 2, 0) * turn  # [B, T, head_dim / 2]
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(dtype), angles.sin().to(dtype)


def mrope_positions(
    input_ids: Tensor, attention_mask: Tensor | None, grids: Sequence[Grid], image_token_id: int, merge: int
) -> Tensor:
    """Frame, row and column of each token of prompts, long [3, B, T]; does not wait for the device.

    Text counts on in all three. A picture's tokens count from where it begins, and text goes on after its longer side.

    Args:
        input_ids: long [B, T].
        attention_mask: [B, T], 0 at padding, whose positions are 0; None where nothing is padded.
        grids: patches of each picture of a sample.
        image_token_id: id of the token that an image token replaces.
        merge: side of the square of patches that become one image token.
    """
    device = input_ids.device
    is_token = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
    is_image = (input_ids == image_token_id) & is_token
    texts, images = (is_token & ~is_image).cumsum(-1), is_image.cumsum(-1)  # up to this token
    length, offsets, passed = 0, [], [torch.zeros(1, dtype=torch.long, device=device)]
    for frames, rows, columns in grids:
        rows, columns = rows // merge, columns // merge
        axes = (torch.arange(number, device=device) for number in (frames, rows, columns))
        offset = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)  # [3, tokens of the picture]
        offsets.append(offset + length)
        length += max(rows, columns)
        passed.append(torch.full_like(offset[0], length))
    positions = texts - 1 + torch.cat(passed)[images.clamp(max=sum(len(p) for p in passed) - 1)]
    positions = positions.expand(3, -1, -1)
    if offsets:
        table = torch.cat(offsets, dim=1)
        of_images = texts + table[:, (images - 1).clamp(0, table.shape[1] - 1)]
        positions = torch.where(is_image, of_images, positions)
    return torch.where(is_token, positions, 0)
