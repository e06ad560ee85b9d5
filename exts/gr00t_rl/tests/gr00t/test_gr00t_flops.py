# SPDX-License-Identifier: BSD-3-Clause
"""The operation counts against hand arithmetic at full size, and against torch's own counter on a small network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fake_gpu import CUDA, fake_gpu, to_fake_gpu
from torch.utils.flop_counter import FlopCounterMode

from gr00t_rl.gr00t.n1d5.config import Gr00tN1d5Config
from gr00t_rl.gr00t.n1d5.flops import count_flops
from gr00t_rl.gr00t.n1d5.model import Gr00tN1d5
from gr00t_rl.gr00t.tokens import Prompt

TERA = 1e12
FULL_SIZE = Gr00tN1d5Config.full_size()


def test_full_size_with_two_cameras():
    """Layer widths by hand: two views of 256 tokens in a prompt of 560, in TFLOP per decision."""
    flops = count_flops(FULL_SIZE, tokens=560, grids=(FULL_SIZE.grid,) * 2)
    siglip = 27 * (2 * 512 * (4 * 1152**2 + 2 * 1152 * 4304) + 2 * 4 * 256**2 * 1152)
    around = 2 * 512 * (3 * 14**2 * 1152 + 1152 * 2048)
    assert flops.vision == siglip + around == pytest.approx(0.44 * TERA, abs=0.005 * TERA)
    qwen = 12 * (2 * 560 * (2048 * (2048 + 2 * 1024 + 2048) + 3 * 2048 * 6144) + 4 * 560**2 * 2048)
    assert flops.language == qwen == pytest.approx(0.71 * TERA, abs=0.005 * TERA)
    assert flops.vl_self_attention == pytest.approx(0.24 * TERA, abs=0.005 * TERA)
    step = flops.cross_kv + flops.velocity  # a denoising step that computes keys and values again
    assert step == pytest.approx(0.10 * TERA, abs=0.01 * TERA)
    assert flops.encode + 4 * step == pytest.approx(1.78 * TERA, rel=0.02)
    # training the self-attention over the features as well
    assert 3 * (flops.vl_self_attention + step) == pytest.approx(1.00 * TERA, rel=0.03)


def test_keys_and_values_are_counted_once_per_decision():
    flops = count_flops(FULL_SIZE, tokens=560, grids=(FULL_SIZE.grid,) * 2)
    assert flops.denoise(4) - flops.denoise(3) == flops.velocity
    assert flops.denoise(1) == flops.state + flops.cross_kv + flops.velocity


def counted(function: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def test_torch_counts_the_same_at_full_size_on_a_fake_gpu():
    """Two views, as they run on a GPU, without numbers: operations, and shape and bytes of what a decision keeps."""
    config, tokens, views = Gr00tN1d5Config.full_size(), 560, 2
    with torch.device("meta"):
        model = Gr00tN1d5(config).bfloat16().eval()
    head, flops = model.action_head, count_flops(config, tokens, (config.grid,) * views)
    with fake_gpu({"gr00t/n1d5/backbone.py:_check_layout": False}) as syncs, torch.no_grad():
        to_fake_gpu(model, syncs)
        ids = torch.ones(1, tokens, dtype=torch.long, device=CUDA)
        pixels = torch.zeros(views, 3, 224, 224, dtype=torch.bfloat16, device=CUDA)
        prompt, rotary = Prompt(ids, grids=(config.grid,) * views), tokens * config.text.head_dim
        assert counted(lambda: model.encode(pixels, prompt)) == flops.vision + flops.language + rotary
        vl = head.process_features(model.encode(pixels, prompt))
        assert vl.shape == (1, 560, 2048) and vl.nbytes == 2293760  # 1.15 MB per camera
        noise, state = torch.zeros(1, 16, 32, device=CUDA), torch.zeros(1, 1, 64, device=CUDA)
        robot = torch.zeros(1, dtype=torch.long, device=CUDA)
        assert counted(lambda: head.integrate(noise, head.prepare(vl, state, robot), 4)) == flops.denoise(4)
        assert syncs.take() == {"gr00t/n1d5/backbone.py:_check_layout": 1}


@pytest.mark.parametrize("dit_layers", [2, 3])
def test_torch_counts_the_same_on_a_small_network(dit_layers):
    """Forward parts exactly; the update up to the first layers, whose inputs need no gradient."""
    config = Gr00tN1d5Config.tiny(dit_layers=dit_layers, text_layers=3)
    model = Gr00tN1d5.from_config(config, attn_implementation="eager")
    head = model.action_head
    head.slice_embodiment(0)
    views, batch = 2, 3
    tokens = views * config.tokens_per_image + 5
    ids = torch.full((batch, tokens), config.image_token_index)
    ids[:, -5:] = 1
    pixels = torch.zeros(batch * views, 3, config.vision.image_size, config.vision.image_size)
    state, x = torch.zeros(batch, 1, config.action_head.max_state_dim), torch.zeros(batch, 16, 32)
    bucket = torch.zeros(batch, dtype=torch.long)
    flops = count_flops(config, tokens, (config.grid,) * views)

    prompt = Prompt(ids, grids=(config.grid,) * views)
    with torch.no_grad():
        features = model.encode(pixels, prompt)
        vl = head.process_features(features)
        context = head.prepare(vl, state)
        rotary = tokens * config.text.head_dim  # position times frequency, once per batch
        assert counted(lambda: model.encode(pixels, prompt)) == batch * (flops.vision + flops.language) + rotary
        assert counted(lambda: head.process_features(features)) == batch * flops.vl_self_attention
        assert counted(lambda: head.prepare(vl, state)) == batch * (flops.state + flops.cross_kv)
        assert counted(lambda: head.velocity(x, bucket, context)) == batch * flops.velocity

    def update() -> None:
        head.velocity(x, bucket, head.prepare(vl, state)).square().mean().backward()

    assert counted(update) == pytest.approx(batch * flops.update(1), rel=0.04)
