# SPDX-License-Identifier: BSD-3-Clause
"""Multi-head attention, in the three ways it can be computed."""

from __future__ import annotations

import importlib

import torch
import torch.nn.functional as F
from torch import Tensor

ATTN_IMPLEMENTATIONS = ("sdpa", "eager", "flash_attention_2")


def check_attn_implementation(name: str) -> str:
    """Return ``name`` if it can run here.

    Raises:
        ValueError: an unknown name.
        ImportError: ``flash_attention_2`` where the package ``flash_attn`` does not import.
    """
    if name not in ATTN_IMPLEMENTATIONS:
        raise ValueError(f"attn_implementation is {name!r}: set one of {', '.join(ATTN_IMPLEMENTATIONS)}")
    if name == "flash_attention_2":
        try:
            importlib.import_module("flash_attn")
        except ImportError as error:
            raise ImportError(
                "attn_implementation='flash_attention_2' needs flash_attn, which does not import "
                f"({error}): pip install flash-attn on a CUDA machine, or set 'sdpa'"
            ) from error
    return name


def attend(q: Tensor, k: Tensor, v: Tensor, implementation: str, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d)) v.

    Zeros for no keys depend on nothing: what made ``q``, such as the norm and the query layer of a block that sees
    pictures alone, then gets no gradient (None, which this package skips; plain DDP would complain).

    Args:
        q: [B, heads, S, d]
        k, v: [B, heads, T, d]
        implementation: one of ``ATTN_IMPLEMENTATIONS``; sdpa takes flash-attn's place if there is a mask.
        mask: keys that are seen, bool [B, T], at least one per row; all where None.

    Returns:
        [B, S, heads * d]; zeros where there are no keys at all.
    """
    if k.shape[2] == 0:
        return q.new_zeros(q.shape[0], q.shape[2], q.shape[1] * q.shape[3])
    seen = None if mask is None else mask[:, None, None, :]
    if implementation == "flash_attention_2" and seen is None:
        return _flash(q, k, v, causal=False)
    if implementation == "eager":
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if seen is not None:
            scores = scores.masked_fill(~seen, -torch.inf)
        out = torch.softmax(scores, dim=-1, dtype=torch.float32).to(v.dtype) @ v
    else:
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    return out.transpose(1, 2).flatten(2)


def attend_causal(q: Tensor, k: Tensor, v: Tensor, implementation: str, seen: Tensor | None = None) -> Tensor:
    """Attention of a language model: a token sees itself and those before it; groups of heads share a key and value.

    Args:
        q: [B, heads, T, d]
        k, v: [B, fewer heads, T, d]
        implementation: one of ``ATTN_IMPLEMENTATIONS``; sdpa takes flash-attn's place where ``seen`` is given.
        seen: what a token sees instead, bool [B, 1, T, T], or numbers added to the scores. One that sees nothing
            (padding before the first token) gets zeros.

    Returns:
        [B, T, heads * d]
    """
    if implementation == "flash_attention_2" and seen is None:
        return _flash(q, k, v, causal=True)
    if implementation != "eager" and seen is None:
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return out.transpose(1, 2).flatten(2)
    # fused kernels with a mask know no groups
    groups = q.shape[1] // k.shape[1]
    k, v = (x.unsqueeze(2).expand(-1, -1, groups, -1, -1).flatten(1, 2) for x in (k, v))
    if implementation != "eager":
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return out.transpose(1, 2).flatten(2)
    if seen is None:
        seen = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device=q.device).tril()
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min) if seen.dtype == torch.bool else scores + seen
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(v.dtype)
    if seen.dtype == torch.bool:
        weights = weights.masked_fill(~seen, 0)
    return (weights @ v).transpose(1, 2).flatten(2)


def _flash(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """By the package flash-attn, which wants one type: under autocast a norm may have left ``q`` and ``k`` float32."""
    from flash_attn import flash_attn_func  # pyright: ignore[reportMissingImports]

    q, k, v = (x.transpose(1, 2) for x in (q.to(v.dtype), k.to(v.dtype), v))
    return flash_attn_func(q, k, v, causal=causal).flatten(2)
