# SPDX-License-Identifier: BSD-3-Clause
"""The action head's promises to the RL code: cached context, batched timesteps, one embodiment."""

from __future__ import annotations

import copy

import pytest
import torch


@pytest.fixture
def parts(model, io):
    head = model.action_head
    vl = head.process_features(io["backbone_features"]).detach()
    return head, vl, io["state"], io["embodiment_id"], io["noise"]


def test_per_row_timesteps_equal_separate_calls(parts):
    head, vl, state, ids, x = parts
    ctx = head.prepare(vl, state, ids)
    buckets = torch.tensor([0, 250, 999])
    together = head.velocity(x, buckets, ctx)
    for row in range(3):
        alone = head.velocity(x[row : row + 1], buckets[row : row + 1], ctx[row])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-6)
    assert not torch.allclose(together[0], head.velocity(x, buckets.flip(0), ctx)[0], atol=1e-4)


def test_one_context_serves_several_steps(parts):
    head, vl, state, ids, x = parts
    ctx = head.prepare(vl, state, ids)
    buckets = torch.tensor([0, 250, 500, 750])
    xs = x[:, None] + torch.arange(4.0)[None, :, None, None]  # [B, K, H, A]
    batched = head.velocity(xs.flatten(0, 1), buckets.repeat(3), ctx.repeat_interleave(4)).unflatten(0, (3, 4))
    for k in range(4):
        single = head.velocity(xs[:, k], buckets[k].expand(3), ctx)
        torch.testing.assert_close(batched[:, k], single, rtol=0, atol=1e-6)


def test_context_indexing(parts):
    head, vl, state, ids, _ = parts
    ctx = head.prepare(vl, state, ids)
    for index in (torch.tensor([2, 0]), slice(1, 3), torch.tensor([True, False, True])):
        part = ctx[index]
        assert part.batch_size == 2
        assert torch.equal(part.state_token, ctx.state_token[index])
        assert torch.equal(part.cross_kv[0][1], ctx.cross_kv[0][1][index])
        assert torch.equal(part.embodiment_id, ids[index])
    assert ctx[-1].batch_size == 1
    assert not ctx.detach().state_token.requires_grad


def test_cached_keys_equal_fresh_ones_with_gradients(parts):
    """Two steps on one context give the values and gradients of two contexts computed anew."""
    head, vl, state, ids, x = parts
    gradients = []
    for cached in (True, False):
        leaf = vl.clone().requires_grad_()
        head.zero_grad()
        ctx = head.prepare(leaf, state, ids)
        total = head.velocity(x, torch.full((3,), 0), ctx).square().sum()
        if not cached:
            ctx = head.prepare(leaf, state, ids)
        total = total + head.velocity(x, torch.full((3,), 500), ctx).square().sum()
        total.backward()
        to_k = head.model.transformer_blocks[0].attn1.to_k.weight.grad
        gradients.append((total.detach(), leaf.grad, to_k.clone(), head.state_encoder.layer1.W.grad.clone()))
    for cached, fresh in zip(*gradients, strict=True):
        assert cached.abs().max() > 0
        torch.testing.assert_close(cached, fresh, rtol=1e-4, atol=1e-6)


def test_every_parameter_of_the_head_gets_a_gradient(tiny):
    head = tiny.action_head
    vl = head.process_features(torch.randn(2, 5, 64))
    ctx = head.prepare(vl, torch.randn(2, 1, 64), torch.tensor([0, 1]))
    head.velocity(torch.randn(2, 16, 32), torch.tensor([0, 500]), ctx).sum().backward()
    assert [name for name, p in head.named_parameters() if p.grad is None] == []


def test_bad_inputs_are_refused(parts):
    head, vl, state, _, _ = parts
    with pytest.raises(ValueError, match="pad it"):
        head.prepare(vl, state[..., :7], torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="give ids or slice_embodiment"):
        head.prepare(vl, state)
    with pytest.raises(ValueError, match="set one of these"):
        head.slice_embodiment(4)


@pytest.mark.parametrize("embodiment", [0, 3])
def test_slice_gives_identical_outputs(model, io, embodiment):
    inputs = {**io, "embodiment_id": torch.full((3,), embodiment)}
    full = model.get_action(inputs, noise=io["noise"])
    before = sum(p.numel() for p in model.parameters())
    tables = sum(p.numel() for n, p in model.named_parameters() if n.endswith((".W", ".b")))
    model.action_head.slice_embodiment(embodiment)
    assert sum(p.numel() for p in model.parameters()) == before - tables * 3 // 4
    del inputs["embodiment_id"]
    torch.testing.assert_close(model.get_action(inputs, noise=io["noise"]), full, rtol=0, atol=1e-6)
    # ids are ignored, whatever they say
    inputs["embodiment_id"] = torch.tensor([9, 9, 9])
    torch.testing.assert_close(model.get_action(inputs, noise=io["noise"]), full, rtol=0, atol=1e-6)


def test_slice_exports_exactly(model, tmp_path):
    whole = {key: value.clone() for key, value in model.export_tensors().items()}
    model.action_head.slice_embodiment(1)
    model.action_head.slice_embodiment(2)  # changing one's mind loses nothing
    for key, value in model.export_tensors().items():
        assert torch.equal(value, whole[key]), key

    with torch.no_grad():
        model.action_head.action_decoder.layer2.W += 1.0
    changed = copy.deepcopy(model).export_tensors()["action_head.action_decoder.layer2.W"]
    original = whole["action_head.action_decoder.layer2.W"]
    assert torch.equal(changed[2], original[2] + 1.0)
    assert torch.equal(changed[[0, 1, 3]], original[[0, 1, 3]])

    model.save_pretrained(tmp_path / "saved")
    again = type(model).from_pretrained(tmp_path / "saved", dtype=torch.float32)
    assert torch.equal(again.action_head.action_decoder.layer2.W, changed)
