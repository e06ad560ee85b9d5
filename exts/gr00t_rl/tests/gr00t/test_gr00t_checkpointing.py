# SPDX-License-Identifier: BSD-3-Clause
"""Gradient checkpointing of the DiT: the same numbers from less memory."""

from __future__ import annotations

import pytest
import torch

from gr00t_rl.gr00t import ActionHead, Gr00tN1d5Config
from gr00t_rl.utils.allocations import LiveBytes

B, T, H = 3, 7, 16


def gradients(head: ActionHead, masked: bool, dtype: torch.dtype, autocast: bool) -> tuple[torch.Tensor, list, int]:
    """The velocity, its gradients in all weights, and the bytes that wait for the backward pass."""
    generator = torch.Generator().manual_seed(1)
    cfg = head.config
    vl = torch.randn(B, T, cfg.backbone_embedding_dim, generator=generator, dtype=dtype)
    state = torch.randn(B, 1, cfg.max_state_dim, generator=generator, dtype=dtype)
    x = torch.randn(B, H, cfg.action_dim, generator=generator, dtype=dtype)
    mask = torch.arange(T) < torch.tensor([[7], [5], [3]]) if masked else None
    head.zero_grad()
    with LiveBytes() as live, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        context = head.prepare(vl, state, torch.zeros(B, dtype=torch.long), mask)
        velocity = head.velocity(x, torch.tensor([0, 250, 750]), context)
        kept = live.now
    velocity.square().sum().backward()
    return velocity.detach(), [p.grad.clone() for p in head.parameters() if p.grad is not None], kept


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("dtype", "autocast"), [(torch.float64, False), (torch.float32, True)])
def test_gradients_are_the_same_and_less_is_kept(masked, dtype, autocast):
    torch.manual_seed(0)
    sizes = {"dit_layers": 4, "input_embedding_dim": 128, "max_num_embodiments": 1}
    head = ActionHead(Gr00tN1d5Config.tiny(**sizes).action_head).to(dtype).eval()
    velocity, expected, kept = gradients(head, masked, dtype, autocast)
    head.model.gradient_checkpointing = True
    again, found, less = gradients(head, masked, dtype, autocast)
    assert torch.equal(velocity, again)
    assert len(found) == len(expected) > 0
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert less < (0.6 if not autocast else 0.8) * kept  # autocast keeps its copies of the weights


def test_nothing_is_kept_where_no_gradient_is_computed(monkeypatch):
    head = ActionHead(Gr00tN1d5Config.tiny(max_num_embodiments=1).action_head).eval()
    head.model.gradient_checkpointing = True
    monkeypatch.setattr("gr00t_rl.gr00t.dit.checkpoint", lambda *_, **__: pytest.fail("a block would run twice"))
    cfg = head.config
    with torch.no_grad():
        context = head.prepare(torch.zeros(1, T, cfg.backbone_embedding_dim), torch.zeros(1, 1, cfg.max_state_dim))
        head.velocity(torch.zeros(1, H, cfg.action_dim), torch.zeros(1, dtype=torch.long), context)
