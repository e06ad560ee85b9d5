# SPDX-License-Identifier: BSD-3-Clause
"""The flow-matching action head: from vision-language features, a state and a noisy action chunk to a velocity.

Time runs from noise (t = 0) to data (t = 1). A decision is three calls::

    vl = head.process_features(features)  # once
    ctx = head.prepare(vl, state, embodiment_id)  # once
    v = head.velocity(x, timestep_bucket, ctx)  # once per denoising step

Keep the head in ``eval()`` while collecting *and* while updating: its dropout (0.2) would give the same action another
log-probability each time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .dit import DiT, KeyValue, SelfAttentionTransformer
from .embodiment import ActionEncoder, CategorySpecificLinear, CategorySpecificMLP
from .head_config import ActionHeadConfig
from .tokens import TokenKinds


@dataclass(frozen=True)
class HeadContext:
    """What the velocity depends on besides the noisy action and the time. Differentiable; B samples."""

    state_token: Tensor
    """[B, 1, w]"""
    future_tokens: Tensor | None
    """[1, F, w], the same for every sample; None in a network without."""
    cross_kv: tuple[KeyValue, ...]
    """Keys and values of the features, one pair per cross-attention block, each [B, heads, T, head_dim]."""
    embodiment_id: Tensor | None
    """[B] long; None when the head holds a single embodiment."""
    cross_mask: Tensor | None = None
    """Features that are tokens, not padding, bool [B, T], or of the text's alone [B, m], see :meth:`DiT.forward`; None
    where all are."""

    @property
    def batch_size(self) -> int:
        """Number of samples B."""
        return self.state_token.shape[0]

    def map(self, fn: Callable[[Tensor], Tensor]) -> HeadContext:
        """Apply ``fn`` to every tensor that has one row per sample."""
        ids = None if self.embodiment_id is None else fn(self.embodiment_id)
        mask = None if self.cross_mask is None else fn(self.cross_mask)
        kv = tuple((fn(k), fn(v)) for k, v in self.cross_kv)
        return HeadContext(fn(self.state_token), self.future_tokens, kv, ids, mask)

    def repeat_interleave(self, repeats: int) -> HeadContext:
        """Each sample ``repeats`` times in a row: one context for several denoising steps in one batched call."""
        return self.map(lambda x: x.repeat_interleave(repeats, dim=0))

    def __getitem__(self, index: Any) -> HeadContext:
        """Samples by slice, long tensor or boolean mask (a single int keeps the batch dimension)."""
        if isinstance(index, int):
            index = slice(index, index + 1) if index != -1 else slice(-1, None)
        return self.map(lambda x: x[index])

    def detach(self) -> HeadContext:
        """The same values, cut from the graph."""
        detached = self.map(Tensor.detach)
        future = None if self.future_tokens is None else self.future_tokens.detach()
        return dataclasses.replace(detached, future_tokens=future)


class ActionHead(nn.Module):
    """Embodiment encoders, vision-language self-attention and DiT, under the checkpoint's names."""

    def __init__(self, cfg: ActionHeadConfig, implementation: str = "sdpa"):
        super().__init__()
        self.config = cfg
        dim, categories = cfg.input_embedding_dim, cfg.max_num_embodiments
        self.model = DiT(cfg, implementation)
        self.state_encoder = CategorySpecificMLP(
            categories, cfg.state_history_length * cfg.max_state_dim, cfg.hidden_size, dim
        )
        self.action_encoder = ActionEncoder(categories, cfg.action_dim, dim)
        self.action_decoder = CategorySpecificMLP(categories, cfg.hidden_size, cfg.hidden_size, cfg.action_dim)
        self.future_tokens = None
        if cfg.num_target_vision_tokens:
            self.future_tokens = nn.Embedding(cfg.num_target_vision_tokens, dim)
        self.vlln = nn.LayerNorm(cfg.backbone_embedding_dim)
        self.vl_self_attention = SelfAttentionTransformer(cfg, implementation)
        self.position_embedding = nn.Embedding(cfg.max_seq_len, dim)
        if self.future_tokens is not None:
            nn.init.normal_(self.future_tokens.weight, std=0.02)
        nn.init.normal_(self.position_embedding.weight, std=0.02)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights, to which inputs are cast."""
        return self.position_embedding.weight.dtype

    @property
    def masks_padding(self) -> bool:
        """Whether the release keeps the DiT from seeing padding; N1.5's sees it."""
        return self.config.attend_text_every_n_blocks > 0

    def process_features(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Backbone features [B, T, D] of any float type -> [B, T, D] for :meth:`prepare`.

        The release attends to padding, so that a prompt's length in the batch changes the action. With the ``mask`` of
        the tokens, bool [B, T], here and in :meth:`prepare`, the action is that of the prompt alone.
        """
        return self.vl_self_attention(self.vlln(features.to(self.dtype)), mask)

    def prepare(
        self,
        vl: Tensor,
        state: Tensor,
        embodiment_id: Tensor | None = None,
        mask: Tensor | None = None,
        kinds: TokenKinds | None = None,
    ) -> HeadContext:
        """Everything that does not change from one denoising step to the next.

        Args:
            vl: [B, T, D] from :meth:`process_features`.
            state: [B, state_history_length, max_state_dim], zero padded, any float type.
            embodiment_id: [B] long; ignored after :meth:`slice_embodiment`.
            mask: features that are tokens, not padding, bool [B, T]; None where all are.
            kinds: which features are pictures, where blocks see only text or only pictures.

        Raises:
            ValueError: a state of another width, no ids while there are several embodiments, or no ``kinds``.
        """
        cfg = self.config
        if state.shape[1:] != (cfg.state_history_length, cfg.max_state_dim):
            raise ValueError(
                f"state is {list(state.shape)}, expected [B, {cfg.state_history_length}, {cfg.max_state_dim}]: pad it"
            )
        token = self.state_encoder(state.flatten(1).unsqueeze(1).to(self.dtype), embodiment_id)  # [B, 1, w]
        kv = self.model.project_features(vl, kinds)
        future = None if self.future_tokens is None else self.future_tokens.weight[None]
        return HeadContext(token, future, kv, embodiment_id, self.cross_mask(mask, kinds))

    def cross_mask(self, mask: Tensor | None, kinds: TokenKinds | None) -> Tensor | None:
        """Where the features that the DiT sees are tokens, see :attr:`HeadContext.cross_mask`, from bool [B, T]."""
        return mask if mask is None or kinds is None else kinds.split(mask)[0]

    def velocity(self, x: Tensor, timestep_bucket: Tensor, ctx: HeadContext) -> Tensor:
        """Flow velocity d(action)/dt at ``x``.

        Args:
            x: noisy actions [B, H, A], float32; H at most ``max_seq_len``.
            timestep_bucket: [B] long in [0, num_timestep_buckets), ``int(t * num_timestep_buckets)``; rows may differ.
            ctx: from :meth:`prepare`, for the same B samples.

        Returns:
            [B, H, A] float32, whatever the type of the network.
        """
        horizon = x.shape[1]
        tokens = self.action_encoder(x.to(self.dtype), timestep_bucket, ctx.embodiment_id)  # [B, H, w]
        tokens = tokens + self.position_embedding.weight[:horizon]
        future = [] if ctx.future_tokens is None else [ctx.future_tokens.expand(x.shape[0], -1, -1)]  # [B, F, w]
        sequence = torch.cat([ctx.state_token, *future, tokens], dim=1)  # [B, 1 + F + H, w]
        out = self.model(sequence, timestep_bucket, ctx.cross_kv, ctx.cross_mask)[:, -horizon:]  # [B, H, hidden_size]
        return self.action_decoder(out, ctx.embodiment_id).float()

    def integrate(self, x: Tensor, ctx: HeadContext, num_steps: int) -> Tensor:
        """Euler steps of the ODE from noise ``x`` [B, H, A] float32 to actions [B, H, A] float32."""
        for step in range(num_steps):
            bucket = int(step / num_steps * self.config.num_timestep_buckets)
            x = x + self.velocity(x, torch.full((x.shape[0],), bucket, device=x.device), ctx) / num_steps
        return x

    def slice_embodiment(self, embodiment_id: int) -> None:
        """Keep the weights of one embodiment only; ids are ignored from now on.

        At full size this takes ~305 M idle parameters from the optimizer, and the per-sample gather from every forward.
        The parameters are replaced, so build the optimizer afterwards. The other embodiments stay in CPU memory, and
        ``save_pretrained`` writes the full table with this embodiment's trained row in its place.

        Raises:
            ValueError: no such embodiment.
        """
        for layer in self.modules():
            if isinstance(layer, CategorySpecificLinear):
                layer.slice(embodiment_id)
