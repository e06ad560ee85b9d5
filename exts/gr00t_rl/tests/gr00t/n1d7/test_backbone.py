# SPDX-License-Identifier: BSD-3-Clause
"""The backbone on its own terms: pictures of several sizes, padding, positions, gradients, and who waits for whom."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fake_gpu import CUDA, fake_gpu, to_fake_gpu
from torch import Tensor
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

from gr00t_rl.gr00t.n1d7.config import Gr00tN1d7Config
from gr00t_rl.gr00t.n1d7.language import mrope_positions
from gr00t_rl.gr00t.n1d7.model import Gr00tN1d7
from gr00t_rl.gr00t.parts import lora_layers, part_parameters
from gr00t_rl.gr00t.tokens import Grid, Prompt, TracedPrompt
from gr00t_rl.utils.allocations import LiveBytes


def relative(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / a.norm()).item()


def patches(grid: Grid) -> int:
    return grid[0] * grid[1] * grid[2]


def test_each_picture_is_encoded_as_if_it_were_alone(tiny, batch):
    """Pictures of one size are one batch, wherever they stand in the sample."""
    together = tiny.backbone.vision(batch.pixels, batch.prompt.grids)
    per_sample = batch.pixels.unflatten(0, (2, -1))
    start = 0
    for grid in batch.prompt.grids:
        end = start + patches(grid)
        alone = tiny.backbone.vision(per_sample[1, start:end], (grid,))[0]
        torch.testing.assert_close(together[1, start:end], alone, rtol=0, atol=1e-5)
        start = end
    assert start == together.shape[1]


def test_frames_of_a_picture_do_not_see_each_other(tiny, batch):
    grid = (2, 4, 6)
    pixels = batch.pixels[: patches(grid)]
    frames = pixels.view(2, -1, pixels.shape[1])
    found = tiny.backbone.vision(pixels, (grid,))[0]
    single = torch.cat([tiny.backbone.vision(frame, ((1, 4, 6),))[0] for frame in frames])
    torch.testing.assert_close(found, single, rtol=0, atol=1e-5)


def test_pictures_of_a_sample_stay_with_it(tiny, batch):
    """Features of one sample alone, and after another's pictures changed."""
    features = tiny.encode(*batch)
    half = len(batch.pixels) // 2
    one = dataclasses.replace(batch.prompt, input_ids=batch.prompt.input_ids[1:])
    torch.testing.assert_close(tiny.encode(batch.pixels[half:], one), features[1:], rtol=0, atol=1e-5)
    changed = torch.cat((batch.pixels[:half], -batch.pixels[half:]))
    other = tiny.encode(changed, batch.prompt)
    assert torch.equal(other[0], features[0])
    assert relative(features[1], other[1]) > 0.05


def test_order_of_pictures_matters(tiny, batch):
    """Exchanging two pictures of equal grids changes the tokens of both, and what is read after them."""
    grids = ((1, 4, 4), (1, 4, 4))
    image = [tiny.config.image_token_id] * 4
    prompt = Prompt(torch.tensor([[3, *image, 4, *image, 7, 8]]), grids=grids)
    first, second = batch.pixels[:16], batch.pixels[16:32]
    features = tiny.encode(torch.cat((first, second)), prompt)[0]
    exchanged = tiny.encode(torch.cat((second, first)), prompt)[0]
    assert torch.equal(features[0], exchanged[0])
    assert all(relative(features[i], exchanged[i]) > 0.01 for i in (1, 6, 11))


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_features_of_tokens_do_not_depend_on_padding(tiny_config, batch, implementation):
    model = Gr00tN1d7.from_config(tiny_config, attn_implementation=implementation)
    features = model.encode(*batch)
    ids, padding = batch.prompt.input_ids, torch.full((2, 3), 5)
    ones, zeros = torch.ones_like(ids), torch.zeros_like(padding)

    def encode(ids: Tensor, mask: Tensor | None) -> Tensor:
        return model.encode(batch.pixels, dataclasses.replace(batch.prompt, input_ids=ids, attention_mask=mask))

    left = encode(torch.cat((padding, ids), 1), torch.cat((zeros, ones), 1))
    right = encode(torch.cat((ids, padding), 1), torch.cat((ones, zeros), 1))
    unmasked = encode(torch.cat((ids, padding), 1), None)
    for found in (left[:, 3:], right[:, :-3], unmasked[:, :-3], encode(ids, ones)):
        torch.testing.assert_close(found, features, rtol=0, atol=1e-5)


@pytest.mark.parametrize("autocast", [False, True])
def test_flash_attention_gets_what_it_takes(tiny_config, batch, monkeypatch, autocast):
    """Stood in for by torch's, in flash-attn's layout: tokens before heads, groups of heads, a flag for causal.

    Of one type, also where a norm with float32 weights leaves float32.
    """
    calls: list[bool] = []

    def flash(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
        calls.append(causal)
        assert {x.dtype for x in (q, k, v)} == {torch.bfloat16 if autocast else torch.float32}
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
        return out.transpose(1, 2)

    monkeypatch.setitem(sys.modules, "flash_attn", SimpleNamespace(flash_attn_func=flash))
    model = Gr00tN1d7.from_config(tiny_config, attn_implementation="flash_attention_2")
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        expected = Gr00tN1d7.from_config(tiny_config).encode(*batch)
        torch.testing.assert_close(model.encode(*batch), expected, rtol=0, atol=1e-5)
    sizes = len({h * w for _, h, w in batch.prompt.grids})
    assert calls == [False] * sizes * tiny_config.vision.depth + [True] * tiny_config.select_layer


@pytest.mark.parametrize("masked", [True, False])
def test_positions_are_those_of_transformers(masked):
    """Random prompts, padded on either side, with pictures at their beginning, end and side by side with text."""
    generator = torch.Generator().manual_seed(2)
    image, grids = 99, ((1, 4, 6), (1, 8, 2), (1, 2, 2), (3, 4, 4))
    rows, masks = [], []
    for left in (0, 3, 5):
        lengths = torch.randint(1, 4, (len(grids),), generator=generator).tolist()
        row = [1] * (left % 2)
        for grid, length in zip(grids, lengths, strict=True):
            row += [image] * (patches(grid) // 4) + [2] * length
        right = 60 - left - len(row)
        rows.append([0] * left + row + [0] * right)
        masks.append([0] * left + [1] * len(row) + [0] * right)
    ids = torch.tensor(rows)
    mask = torch.tensor(masks) if masked else None
    theirs: Any = Qwen3VLModel
    network: Any = SimpleNamespace(
        config=SimpleNamespace(vision_config=SimpleNamespace(spatial_merge_size=2)),
        get_vision_position_ids=lambda *a, **k: theirs.get_vision_position_ids(None, *a, **k),
    )
    expected, _ = theirs.get_rope_index(
        network,
        ids,
        mm_token_type_ids=(ids == image).int(),
        image_grid_thw=torch.tensor(grids * 3),
        attention_mask=mask,
    )
    found = mrope_positions(ids, mask, grids, image, merge=2)
    assert found.dtype == torch.long
    assert torch.equal(found, expected)


def test_positions_of_text_count_its_tokens():
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]])
    found = mrope_positions(torch.full((2, 4), 7), mask, (), image_token_id=9, merge=2)
    assert torch.equal(found, torch.tensor([[0, 0, 0, 1], [0, 1, 2, 0]]).expand(3, -1, -1))


def test_given_positions_are_used(tiny, batch):
    config, prompt = tiny.config, batch.prompt
    positions = mrope_positions(
        prompt.input_ids, None, prompt.grids, config.image_token_id, config.vision.spatial_merge_size
    )
    features = tiny.encode(*batch)
    assert torch.equal(features, tiny.encode(batch.pixels, dataclasses.replace(prompt, position_ids=positions)))
    other = dataclasses.replace(prompt, position_ids=torch.zeros_like(positions))
    assert relative(features, tiny.encode(batch.pixels, other)) > 0.01


def test_a_traced_prompt_gives_the_same(tiny, batch):
    """Also as a graph, which is recorded with other pictures."""
    tiny.requires_grad_(False)
    ids = batch.prompt.input_ids[:1].expand(2, -1)
    length, grids = ids.shape[1], batch.prompt.grids
    is_image = tiny.backbone.is_image(ids[0])
    order = torch.where(is_image, is_image.cumsum(0) - 1 + length, torch.arange(length))
    mask = torch.full((length, length), torch.finfo(torch.float32).min).triu(1)[None, None]
    merge = tiny.config.vision.spatial_merge_size
    positions = mrope_positions(ids, None, grids, tiny.config.image_token_id, merge)
    traced = Prompt(
        ids, position_ids=positions, grids=grids, traced=TracedPrompt(tiny.backbone.embed(ids), order, mask)
    )
    expected = tiny.encode(batch.pixels, Prompt(ids, grids=grids))
    torch.testing.assert_close(tiny.encode(batch.pixels, traced), expected, rtol=0, atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about sizes that stay as they are
        graph = torch.jit.trace(lambda pixels: tiny.encode(pixels, traced), -batch.pixels)
    torch.testing.assert_close(graph(batch.pixels), expected, rtol=0, atol=1e-5)  # type: ignore[operator]


def test_gradients_reach_pixels_and_every_level_of_image_tokens(tiny, batch):
    """After a run in inference mode, whose tables are kept."""
    with torch.inference_mode():
        expected = tiny.encode(*batch)
    pixels = batch.pixels.clone().requires_grad_()
    tokens = tiny.backbone.project(tiny.backbone.vision(pixels, batch.prompt.grids))
    tokens.retain_grad()
    features = tiny.backbone.read(batch.prompt, tokens)
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)
    features[:, -1].square().sum().backward()
    assert tokens.grad is not None and pixels.grad is not None
    assert (tokens.grad[..., : tiny.config.feature_dim].norm(dim=-1) > 0).all()
    assert (tokens.grad[..., tiny.config.feature_dim :].norm(dim=-1) > 0).all()
    assert (pixels.grad.norm(dim=-1) > 0).all()


def test_positions_survive_a_cast(tiny, batch):
    """Rotary angles are computed in float32 whatever the weights' type: bfloat16 knows no position 257."""
    far = Prompt(torch.full((1, 600), 7))
    positions = torch.arange(600).expand(3, 1, -1)
    cos, _ = tiny.backbone.language_model._rotary(positions, torch.float32)
    tiny.to(torch.bfloat16)
    again, _ = tiny.backbone.language_model._rotary(positions, torch.float32)
    assert torch.equal(cos, again)
    assert relative(cos[0, 257], cos[0, 256]) > 0.1
    assert tiny.encode(None, far).isfinite().all()


def test_memory_of_the_image_encoder_does_not_grow_with_its_depth(batch):
    """Without gradients: of the blocks' outputs only those that DeepStack takes are kept."""
    peaks = []
    for depth in (3, 8):
        vision = Gr00tN1d7.from_config(Gr00tN1d7Config.tiny(vision_layers=depth)).backbone.visual
        with torch.no_grad():
            vision.features(batch.pixels, batch.prompt.grids)  # makes the tables
            with LiveBytes() as memory:
                vision.features(batch.pixels, batch.prompt.grids)
        peaks.append(memory.peak)
    assert peaks[1] == peaks[0] > 0


def test_wrong_pictures_are_refused_in_one_line(tiny, batch):
    backbone, grids = tiny.backbone, batch.prompt.grids
    refusals = [
        ("cut the pictures into patches", lambda: backbone.vision(batch.pixels[:, :-1], grids)),
        ("as many views as there are images", lambda: backbone.vision(batch.pixels[:-1], grids)),
        ("as many views as there are images", lambda: backbone.vision(batch.pixels, ())),
        ("resize the pictures to multiples of 16", lambda: backbone.vision(batch.pixels, ((1, 3, 4),))),
        ("as many views as there are images", lambda: tiny.encode(None, batch.prompt)),
        (
            "as many views as there are images",
            lambda: tiny.encode(batch.pixels[:32], dataclasses.replace(batch.prompt, grids=((1, 4, 4),))),
        ),
    ]
    for message, call in refusals:
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_samples_of_unlike_pictures_are_refused(tiny, batch):
    grids = torch.tensor([[1, 4, 4], [1, 2, 8]])
    with pytest.raises(ValueError, match="not the same pictures for each of 2 samples"):
        tiny.read_inputs({"input_ids": batch.prompt.input_ids, "pixel_values": batch.pixels, "image_grid_thw": grids})


def test_host_waits_once_per_layout():
    """At full size and with two cameras of different sizes, on a fake GPU."""
    with torch.device("meta"):
        model = Gr00tN1d7(Gr00tN1d7Config.full_size()).bfloat16().eval()
    backbone, grids = model.backbone, ((1, 16, 16), (1, 16, 24), (1, 16, 16))
    with fake_gpu({"gr00t/n1d7/backbone.py:_check_layout": False}) as syncs, torch.no_grad():
        to_fake_gpu(model, syncs)
        prompt = Prompt(torch.ones(2, 300, dtype=torch.long, device=CUDA), grids=grids)
        pixels = torch.zeros(2 * sum(map(patches, grids)), 1536, device=CUDA)
        for _ in range(2):
            kept = backbone.vision(pixels, grids)
            tokens = backbone.project(kept)
            features = backbone.read(prompt, tokens)
        assert kept.shape == (2, 896, 4096) and tokens.shape == (2, 224, 8192)
        assert features.shape == (2, 300, 2048) and features.dtype == torch.bfloat16
        assert syncs.take() == {"gr00t/n1d7/backbone.py:_check_layout": 1}


def test_parts_hold_every_weight_that_is_used(tiny):
    """All but the final norm, which is kept as it is; and LoRA finds its layers in every block."""
    parts = part_parameters(tiny)
    in_parts = [name for names in parts.values() for name in names]
    assert len(in_parts) == len(set(in_parts))
    unused = dict(tiny.named_parameters()).keys() - set(in_parts)
    assert unused == {"backbone.language_model.model.norm.weight"}
    assert not tiny.backbone.language_model.model.norm.weight.requires_grad
    assert len(lora_layers(tiny, "vision")) == 4 * tiny.config.vision.depth
    assert len(lora_layers(tiny, "llm")) == 7 * tiny.config.select_layer


def test_every_trainable_weight_gets_a_gradient(tiny, batch):
    """One without would stop DDP."""
    head, kinds = tiny.action_head, tiny.token_kinds(batch.prompt)
    vl = head.process_features(tiny.encode(*batch))
    ctx = head.prepare(vl, torch.randn(2, 1, 64), torch.tensor([0, 1]), kinds=kinds)
    head.velocity(torch.randn(2, 16, 32), torch.tensor([3, 700]), ctx).square().sum().backward()
    missing = [name for name, p in tiny.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
