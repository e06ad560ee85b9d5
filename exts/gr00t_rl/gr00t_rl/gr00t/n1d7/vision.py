# SPDX-License-Identifier: BSD-3-Clause
"""The image encoder of Qwen3-VL: patches of pictures of several sizes to image tokens.

The layers are transformers', the forward pass is ours: which patches belong to which picture is the same in all
samples and known to the host, so that all pictures of a size are one batch, and the device is never asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLVisionConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel, apply_rotary_pos_emb_vision

from ..attention import attend
from ..tokens import Grid
from .config import Gr00tN1d7Config

_ROPE_THETA = 10000.0


@dataclass(frozen=True)
class Patches:
    """Where the n patches of a sample lie, in the order in which the encoder takes them: frames of a size together."""

    frames: tuple[tuple[int, int], ...]
    """Frames and patches of each for every size of frame: a patch sees its own frame."""
    order: Tensor | None
    """Long [n], the patches in that order; None if they come in it."""
    back: Tensor | None
    """Long [n], undoes :attr:`order`."""
    cells: Tensor
    """Long [4, n], neighbours of a patch in the table of positions."""
    weights: Tensor
    """Float32 [4, n], how much of each."""
    cos: Tensor
    sin: Tensor
    """Rotary angles' cosine and sine, float32 [n, head_dim]."""


class Vision(nn.Module):
    """``visual`` of the checkpoint, as ``model``."""

    def __init__(self, config: Gr00tN1d7Config, implementation: str):
        super().__init__()
        cfg = config.vision
        self.config, self.implementation = cfg, implementation
        hf = Qwen3VLVisionConfig(
            hidden_size=cfg.hidden_size,
            intermediate_size=cfg.intermediate_size,
            depth=cfg.depth,
            num_heads=cfg.num_heads,
            patch_size=cfg.patch_size,
            temporal_patch_size=cfg.temporal_patch_size,
            spatial_merge_size=cfg.spatial_merge_size,
            num_position_embeddings=cfg.num_position_embeddings,
            deepstack_visual_indexes=list(cfg.deepstack_visual_indexes),
            out_hidden_size=config.text.hidden_size,
            # The release's 0.02 at full size, about; a tiny model with 0.02 would hardly see.
            initializer_range=cfg.hidden_size**-0.5,
        )
        self.model: Any = Qwen3VLVisionModel(hf)
        del self.model.rotary_pos_emb  # a buffer for what depends on sizes alone, see :meth:`_patches`
        self._known: dict[tuple[Any, ...], Patches] = {}

    def features(self, pixels: Tensor, grids: tuple[Grid, ...]) -> Tensor:
        """Patches of B samples -> [B, n, W * (1 + K)]: outputs of the last block and of K blocks before it.

        Args:
            pixels: [B * n, values of a patch], sample-major, picture by picture.
            grids: the pictures of a sample.

        Raises:
            ValueError: patches of another size, or another number of them.
        """
        self._check(pixels, grids)
        patches = self._patches(grids, pixels.device)
        embed, table = self.model.patch_embed.proj, self.model.pos_embed
        # Kernels as large as their strides make the convolution a product, which every device is fast at.
        x = F.linear(pixels.to(embed.weight.dtype), embed.weight.flatten(1), embed.bias)  # [B * n, W]
        x = x.unflatten(0, (-1, patches.cells.shape[1]))
        if patches.order is not None:
            x = x.index_select(1, patches.order)
        x = x + (table(patches.cells) * patches.weights[..., None]).sum(0).to(x.dtype)
        kept = {}
        for index, block in enumerate(self.model.blocks):
            x = x + self._attend(block.attn, block.norm1(x), patches)
            x = x + block.mlp(block.norm2(x))
            if index in self.config.deepstack_visual_indexes:  # others' outputs are let go
                kept[index] = x
        x = torch.cat([x, *(kept[index] for index in self.config.deepstack_visual_indexes)], dim=-1)
        return x if patches.back is None else x.index_select(1, patches.back)

    def merge(self, x: Tensor) -> Tensor:
        """What :meth:`features` returns -> image tokens [B, m, D * (1 + K)]: for the input and K layers' outputs."""
        mergers = (self.model.merger, *self.model.deepstack_merger_list)
        parts = x.chunk(len(mergers), dim=-1)
        tokens = [merger(part.contiguous()) for merger, part in zip(mergers, parts, strict=True)]  # [B * m, D] each
        return torch.cat(tokens, dim=-1).unflatten(0, (-1, x.shape[1] // self.config.merge_unit))

    def _attend(self, attention: Any, x: Tensor, patches: Patches) -> Tensor:
        """[B, n, W] -> [B, n, W], within each frame."""
        q, k, v = attention.qkv(x).unflatten(-1, (3, attention.num_heads, -1)).unbind(2)  # [B, n, heads, d] each
        q, k = apply_rotary_pos_emb_vision(q, k, patches.cos, patches.sin)
        sizes = [number * size for number, size in patches.frames]
        outs = []
        for (number, size), *qkv in zip(patches.frames, *(y.split(sizes, dim=1) for y in (q, k, v)), strict=True):
            frames = [y.unflatten(1, (number, size)).flatten(0, 1).transpose(1, 2) for y in qkv]
            out = attend(*frames, implementation=self.implementation)  # [B * number, size, W]
            outs.append(out.unflatten(0, (-1, number)).flatten(1, 2))
        return attention.proj(torch.cat(outs, dim=1) if len(outs) > 1 else outs[0])

    def _check(self, pixels: Tensor, grids: tuple[Grid, ...]) -> None:
        cfg = self.config
        if pixels.ndim != 2 or pixels.shape[1] != cfg.patch_values:
            raise ValueError(
                f"pixel_values is {list(pixels.shape)}, expected [patches, {cfg.patch_values}]: cut the pictures into "
                f"patches of {cfg.temporal_patch_size} frames of {cfg.patch_size} x {cfg.patch_size} pixels"
            )
        side = cfg.spatial_merge_size
        if any(min(grid) < 1 or grid[1] % side or grid[2] % side for grid in grids):
            raise ValueError(
                f"image_grid_thw has {[*grids]} for a sample, of which rows and columns are to be multiples of {side}: "
                f"resize the pictures to multiples of {side * cfg.patch_size} pixels"
            )
        n = sum(t * h * w for t, h, w in grids)
        if not n or pixels.shape[0] % n:
            raise ValueError(
                f"{pixels.shape[0]} patches cannot be {n} a sample, those of {[*grids]}: give the prompt of as many "
                "views as there are images"
            )

    def _patches(self, grids: tuple[Grid, ...], device: torch.device) -> Patches:
        """Tables for pictures of ``grids``, made once; by the device itself, so that nothing is copied to it."""
        key = (grids, device)
        if key in self._known:
            return self._known[key]
        with torch.inference_mode(False), torch.no_grad():  # inference's own tensors are of no use to a gradient
            made = self._make_patches(grids, device)
        if not torch.compiler.is_compiling():  # a compiler's tensors hold no numbers
            self._known[key] = made
        return made

    def _make_patches(self, grids: tuple[Grid, ...], device: torch.device) -> Patches:
        frames = [(h, w) for t, h, w in grids for _ in range(t)]
        sizes = [h * w for h, w in frames]
        order = sorted(range(len(frames)), key=lambda i: (sizes.index(sizes[i]), i))
        groups = tuple((sizes.count(size), size) for size in dict.fromkeys(sizes))
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        cells, weights, angles = zip(*(self._make_frame(*frames[i], device) for i in order), strict=True)
        index = back = None
        if order != sorted(order):
            index = torch.cat([torch.arange(starts[i], starts[i] + sizes[i], device=device) for i in order])
            back = index.argsort()
        angle = torch.cat(angles).repeat(1, 2)  # each turns a number of the first half with one of the second
        return Patches(groups, index, back, torch.cat(cells, 1), torch.cat(weights, 1), angle.cos(), angle.sin())

    def _make_frame(self, rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Neighbours, weights and rotary angles of one frame's patches, token by token."""
        cfg = self.config
        side, cells = cfg.spatial_merge_size, round(cfg.num_position_embeddings**0.5)
        row, column = (torch.arange(number, device=device) for number in (rows, columns))
        row, column = (x.flatten() for x in torch.meshgrid(row, column, indexing="ij"))
        # patches of a token follow each other
        token = torch.arange(rows * columns, device=device).view(rows // side, side, columns // side, side)
        token = token.transpose(1, 2).flatten()
        row, column = row[token], column[token]
        low, high, fraction = zip(
            *(_neighbours(cells, number, at) for number, at in ((rows, row), (columns, column))), strict=True
        )
        (y0, x0), (y1, x1), (fy, fx) = low, high, fraction
        corners = [y0 * cells + x0, y0 * cells + x1, y1 * cells + x0, y1 * cells + x1]
        weights = [(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx]
        dim = cfg.hidden_size // cfg.num_heads // 2
        turn = 1.0 / (_ROPE_THETA ** (torch.arange(0, dim, 2, dtype=torch.float32, device=device) / dim))
        angles = torch.cat([row[:, None] * turn, column[:, None] * turn], dim=-1)  # [patches, head_dim / 2]
        return torch.stack(corners), torch.stack(weights), angles


def _neighbours(cells: int, number: int, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The cells below and above positions ``at`` of ``number`` spread over ``cells``, and the share of the upper."""
    place = torch.linspace(0, cells - 1, number, device=at.device)[at]
    low = place.long()
    return low, (low + 1).clamp(max=cells - 1), place - low
