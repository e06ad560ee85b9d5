# SPDX-License-Identifier: BSD-3-Clause
"""The two transformers of the action head: the diffusion transformer (DiT) and the vision-language self-attention.

Module names are the checkpoint's (they come from diffusers), so official weights load by name.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .attention import attend
from .head_config import ActionHeadConfig
from .tokens import TokenKinds

KeyValue = tuple[Tensor, Tensor]
"""Keys and values of one attention layer, each [B, heads, T, head_dim]."""

_NORM_EPS = 1e-5
_NORM_OUT_EPS = 1e-6
_TIME_CHANNELS = 256


class Attention(nn.Module):
    """Multi-head attention whose keys and values can be computed ahead of the queries."""

    def __init__(self, dim: int, heads: int, head_dim: int, context_dim: int, dropout: float, implementation: str):
        super().__init__()
        inner = heads * head_dim
        self.heads = heads
        self.implementation = implementation
        self.to_q = nn.Linear(dim, inner)
        self.to_k = nn.Linear(context_dim, inner)
        self.to_v = nn.Linear(context_dim, inner)
        self.to_out = nn.ModuleList([nn.Linear(inner, dim), nn.Dropout(dropout)])

    def project(self, context: Tensor) -> KeyValue:
        """Keys and values of ``context`` [B, T, context_dim]."""
        return self._split(self.to_k(context)), self._split(self.to_v(context))

    def forward(self, x: Tensor, kv: KeyValue, mask: Tensor | None = None) -> Tensor:
        """[B, S, dim] attends to ``kv`` where ``mask``, bool [B, T], is True (everywhere without); [B, S, dim]."""
        out = attend(self._split(self.to_q(x)), *kv, implementation=self.implementation, mask=mask)
        for layer in self.to_out:
            out = layer(out)
        return out

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, T, head_dim]


class GeluProjection(nn.Module):
    """``gelu(proj(x))``, the first layer of a feed-forward."""

    def __init__(self, dim: int, inner: int):
        super().__init__()
        self.proj = nn.Linear(dim, inner)

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] -> [..., inner]"""
        return F.gelu(self.proj(x), approximate="tanh")


class FeedForward(nn.Module):
    """Two-layer MLP, four times as wide inside."""

    def __init__(self, dim: int, dropout: float):
        super().__init__()
        layers = [GeluProjection(dim, 4 * dim), nn.Dropout(dropout), nn.Linear(4 * dim, dim), nn.Dropout(dropout)]
        self.net = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] -> [..., dim]"""
        for layer in self.net:
            x = layer(x)
        return x


class AdaLayerNorm(nn.Module):
    """LayerNorm whose scale and shift come from the timestep embedding."""

    def __init__(self, dim: int):
        super().__init__()
        self.linear = nn.Linear(dim, 2 * dim)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x [B, S, dim], time [B, dim] -> [B, S, dim]"""
        scale, shift = self.linear(F.silu(time))[:, None].chunk(2, dim=-1)
        return _modulate(x, scale, shift, _NORM_EPS)


class DiTBlock(nn.Module):
    """Attention (to the features or to the tokens themselves) and feed-forward, both residual."""

    def __init__(self, cfg: ActionHeadConfig, cross: bool, implementation: str):
        super().__init__()
        dim = cfg.input_embedding_dim
        context = cfg.backbone_embedding_dim if cross else dim
        self.norm1 = AdaLayerNorm(dim)
        self.attn1 = Attention(dim, cfg.dit_heads, cfg.dit_head_dim, context, cfg.dit_dropout, implementation)
        self.final_dropout = nn.Dropout(cfg.dit_dropout)
        self.ff = FeedForward(dim, cfg.dit_dropout)

    def forward(self, x: Tensor, time: Tensor, kv: KeyValue | None, mask: Tensor | None = None) -> Tensor:
        """x [B, S, dim], time [B, dim]; ``kv`` of the features and their mask, or None to attend to ``x``."""
        normed = self.norm1(x, time)
        x = x + self.final_dropout(self.attn1(normed, self.attn1.project(normed) if kv is None else kv, mask))
        return x + self.ff(F.layer_norm(x, x.shape[-1:], eps=_NORM_EPS))


class TimestepEmbedder(nn.Module):
    """Two-layer MLP on the sinusoid of the timestep bucket."""

    def __init__(self, dim: int):
        super().__init__()
        self.linear_1 = nn.Linear(_TIME_CHANNELS, dim)
        self.linear_2 = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 256] -> [B, dim]"""
        return self.linear_2(F.silu(self.linear_1(x)))


class TimestepEncoder(nn.Module):
    """Timestep bucket [B] long -> embedding [B, dim]."""

    def __init__(self, dim: int):
        super().__init__()
        self.timestep_embedder = TimestepEmbedder(dim)

    def forward(self, timestep: Tensor) -> Tensor:
        """[B] -> [B, dim]"""
        angles = sinusoid_angles(timestep, _TIME_CHANNELS // 2, _TIME_CHANNELS // 2 - 1)
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1)
        return self.timestep_embedder(waves.to(self.timestep_embedder.linear_1.weight.dtype))


class DiT(nn.Module):
    """Diffusion transformer: even blocks attend to the vision-language features, odd blocks to the tokens.

    Attributes:
        gradient_checkpointing: Whether only the input of each block is kept for the backward pass, which then runs the
            block again (arXiv 1604.06174). Gradients are the same; nothing changes where none are computed.
    """

    def __init__(self, cfg: ActionHeadConfig, implementation: str):
        super().__init__()
        self.gradient_checkpointing = False
        dim = cfg.input_embedding_dim
        self.timestep_encoder = TimestepEncoder(dim)
        self.transformer_blocks = nn.ModuleList(
            DiTBlock(cfg, cross=index % 2 == 0, implementation=implementation) for index in range(cfg.dit_layers)
        )
        self.proj_out_1 = nn.Linear(dim, 2 * dim)
        self.proj_out_2 = nn.Linear(dim, cfg.hidden_size)
        self._sees_text = [cfg.sees_text(index) for index in range(cfg.cross_blocks)]

    def project_features(self, vl: Tensor, kinds: TokenKinds | None = None) -> tuple[KeyValue, ...]:
        """Keys and values of the features [B, T, D] that each cross-attention block sees, in order.

        They depend on neither the timestep nor the noisy action, so one call serves every denoising step. Where a block
        sees only text or only pictures, the release computes all keys and masks the others; here they are not computed.

        Args:
            vl: Features.
            kinds: Which of them are pictures; not read where all blocks see all.

        Raises:
            ValueError: No ``kinds`` where they are needed.
        """
        blocks: Any = self.transformer_blocks[::2]
        if None in self._sees_text:
            return tuple(block.attn1.project(vl) for block in blocks)
        if kinds is None:
            raise ValueError("kinds is None, but blocks see only text or only pictures: say which tokens are which")
        text, image = kinds.split(vl)
        return tuple(
            block.attn1.project(text if sees_text else image)
            for block, sees_text in zip(blocks, self._sees_text, strict=True)
        )

    def forward(
        self, tokens: Tensor, timestep: Tensor, cross_kv: tuple[KeyValue, ...], cross_mask: Tensor | None = None
    ) -> Tensor:
        """tokens [B, S, dim], timestep [B] long, ``cross_kv`` from :meth:`project_features` -> [B, S, hidden_size]

        ``cross_mask``, bool [B, T], is False at features of padding; where blocks see only text or only pictures, it is
        that of the text [B, m].
        """
        time = self.timestep_encoder(timestep)  # [B, dim]
        x: Any = tokens
        checkpointed = self.gradient_checkpointing and torch.is_grad_enabled()
        for index, block in enumerate(self.transformer_blocks):
            cross = index % 2 == 0
            masked = cross and self._sees_text[index // 2] is not False  # pictures hold no padding
            inputs = (x, time, cross_kv[index // 2] if cross else None, cross_mask if masked else None)
            if checkpointed:  # without dropout, a block draws no random numbers
                x = checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=self.training)
            else:
                x = block(*inputs)
        shift, scale = self.proj_out_1(F.silu(time))[:, None].chunk(2, dim=-1)
        return self.proj_out_2(_modulate(x, scale, shift, _NORM_OUT_EPS))


class SelfAttentionBlock(nn.Module):
    """Plain pre-norm transformer block."""

    def __init__(self, cfg: ActionHeadConfig, implementation: str):
        super().__init__()
        dim = cfg.backbone_embedding_dim
        self.norm1 = nn.LayerNorm(dim, eps=_NORM_EPS)
        self.attn1 = Attention(dim, cfg.vl_heads, cfg.vl_head_dim, dim, cfg.vl_dropout, implementation)
        self.final_dropout = nn.Dropout(cfg.vl_dropout)
        self.norm3 = nn.LayerNorm(dim, eps=_NORM_EPS)
        self.ff = FeedForward(dim, cfg.vl_dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, T, D] -> [B, T, D]"""
        normed = self.norm1(x)
        x = x + self.final_dropout(self.attn1(normed, self.attn1.project(normed), mask))
        return x + self.ff(self.norm3(x))


class SelfAttentionTransformer(nn.Module):
    """Self-attention over the vision-language features. Without a mask it attends to padding, as the release does."""

    def __init__(self, cfg: ActionHeadConfig, implementation: str):
        super().__init__()
        self.transformer_blocks = nn.ModuleList(SelfAttentionBlock(cfg, implementation) for _ in range(cfg.vl_layers))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, T, D] -> [B, T, D]; ``mask``, bool [B, T], is False at padding, whose own rows then mean nothing."""
        for block in self.transformer_blocks:
            x = block(x, mask)
        return x


def sinusoid_angles(timestep: Tensor, half: int, denominator: int) -> Tensor:
    """Angles ``timestep * 10000^(-i / denominator)``, i = 0 ... half-1, in float32: [B] -> [B, half]."""
    index = torch.arange(half, dtype=torch.float32, device=timestep.device)
    return timestep.float()[:, None] * torch.exp(index * (-math.log(10000.0) / denominator))


def _modulate(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=eps) * (1 + scale) + shift
