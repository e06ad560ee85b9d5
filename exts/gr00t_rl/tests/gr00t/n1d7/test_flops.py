# SPDX-License-Identifier: BSD-3-Clause
"""The operation counts of N1.7 against hand arithmetic at full size, and against torch's own counter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fake_gpu import CUDA, fake_gpu, to_fake_gpu
from torch.utils.flop_counter import FlopCounterMode

from gr00t_rl.gr00t.n1d7.config import Gr00tN1d7Config
from gr00t_rl.gr00t.n1d7.flops import count_flops
from gr00t_rl.gr00t.n1d7.model import Gr00tN1d7
from gr00t_rl.gr00t.tokens import Prompt

TERA = 1e12


def counted(function: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def test_full_size_with_two_cameras():
    """Layer widths by hand: two views of 256 patches, 64 tokens, in a prompt of 180."""
    flops = count_flops(Gr00tN1d7Config.full_size(), tokens=180, grids=[(1, 16, 16)] * 2)
    blocks = 24 * (2 * 512 * (4 * 1024**2 + 2 * 1024 * 4096) + 2 * 4 * 256**2 * 1024)
    mergers = 4 * 2 * 128 * (4096 * 4096 + 4096 * 2048)
    assert flops.vision == 2 * 512 * 1536 * 1024 + blocks + mergers
    qwen = 16 * (2 * 180 * (2048 * (2048 + 2 * 1024 + 2048) + 3 * 2048 * 6144) + 4 * 180**2 * 2048)
    assert flops.language == qwen
    seen = 8 * 52 + 8 * 128  # blocks that see text, and pictures
    assert flops.cross_kv == 2 * 2 * seen * 2048 * 1536
    assert flops.encode == pytest.approx(0.72 * TERA, abs=0.005 * TERA)


def test_torch_counts_the_same_at_full_size_on_a_fake_gpu():
    """Two views, as they run on a GPU, without numbers."""
    config, tokens, grids = Gr00tN1d7Config.full_size(), 180, ((1, 16, 16),) * 2
    with torch.device("meta"):
        model = Gr00tN1d7(config).bfloat16().eval()
    head, flops = model.action_head, count_flops(config, tokens, grids)
    answers = {"gr00t/n1d7/backbone.py:_check_layout": False}
    with fake_gpu(answers) as syncs, torch.no_grad():
        to_fake_gpu(model, syncs)
        prompt = Prompt(torch.ones(1, tokens, dtype=torch.long, device=CUDA), grids=grids)
        pixels = torch.zeros(512, 1536, dtype=torch.bfloat16, device=CUDA)
        assert counted(lambda: model.backbone.project(model.backbone.vision(pixels, grids))) == flops.vision
        assert counted(lambda: model.encode(pixels, prompt)) == flops.vision + flops.language
        assert syncs.take() == {"gr00t/n1d7/backbone.py:_check_layout": 1}
        vl = torch.zeros(1, tokens, 2048, device=CUDA)
        assert counted(lambda: head.process_features(vl)) == flops.vl_self_attention


@pytest.mark.parametrize(("dit_layers", "every"), [(4, 2), (5, 3), (6, 2)])
def test_torch_counts_the_same_on_a_small_network(dit_layers, every):
    """Forward parts exactly; the update up to the first layers, whose inputs need no gradient."""
    config = Gr00tN1d7Config.tiny(dit_layers=dit_layers, attend_text_every_n_blocks=every, text_layers=3)
    model = Gr00tN1d7.from_config(config, attn_implementation="eager")
    head = model.action_head
    head.slice_embodiment(0)
    grids, batch = ((1, 8, 8), (2, 4, 6), (1, 4, 4)), 3
    images = sum(config.tokens_of(grid) for grid in grids)
    tokens = images + 5
    ids = torch.full((batch, tokens), config.image_token_id)
    ids[:, -5:] = 1
    prompt = Prompt(ids, grids=grids)
    kinds = model.token_kinds(prompt)
    pixels = torch.zeros(batch * sum(t * h * w for t, h, w in grids), config.vision.patch_values)
    state, x = torch.zeros(batch, 1, config.action_head.max_state_dim), torch.zeros(batch, 16, 32)
    bucket = torch.zeros(batch, dtype=torch.long)
    flops = count_flops(config, tokens, grids)

    with torch.no_grad():
        features = model.encode(pixels, prompt)
        vl = head.process_features(features)
        context = head.prepare(vl, state, kinds=kinds)
        assert counted(lambda: model.encode(pixels, prompt)) == batch * (flops.vision + flops.language)
        assert counted(lambda: head.process_features(features)) == batch * flops.vl_self_attention
        assert counted(lambda: head.prepare(vl, state, kinds=kinds)) == batch * (flops.state + flops.cross_kv)
        assert counted(lambda: head.velocity(x, bucket, context)) == batch * flops.velocity

    def update() -> None:
        head.velocity(x, bucket, head.prepare(vl, state, kinds=kinds)).square().mean().backward()

    assert counted(update) == pytest.approx(batch * flops.update(1), rel=0.04)
