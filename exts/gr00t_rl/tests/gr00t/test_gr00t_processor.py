# SPDX-License-Identifier: BSD-3-Clause
"""Prompt layout, images, state and action, and the two kinds of tokenizer assets."""

from __future__ import annotations

import json

import pytest
import torch
from tokenizers import pre_tokenizers

from gr00t_rl.gr00t import (
    CheckpointError,
    Gr00tN1d5Config,
    Gr00tProcessor,
    load_tokenizer,
    tiny_tokenizer,
    tokenizer_assets,
)

OPENING = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
CLOSING = "<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def tokenizer(tiny_config):
    return tiny_tokenizer(tiny_config)


@pytest.fixture
def processor(tiny_config, tokenizer):
    return Gr00tProcessor(tiny_config, tokenizer, "Lift the cube.", num_views=2)


def test_prompt_text(tiny_config, tokenizer, processor):
    image = "<img>" + "<IMG_CONTEXT>" * 16 + "</img>"
    assert processor.prompt_text == OPENING + f"<image 1>{image}<image 2>{image}" + "Lift the cube." + CLOSING
    blind = Gr00tProcessor(tiny_config, tokenizer, "Lift the cube.", num_views=0)
    assert blind.prompt_text == OPENING + "Lift the cube." + CLOSING
    default = Gr00tProcessor(tiny_config, tokenizer, formalize_language=True, num_views=0)
    assert default.prompt_text == OPENING + "perform the default behavior" + CLOSING


def test_instruction_that_looks_like_a_placeholder_stays(tiny_config, tokenizer):
    text = Gr00tProcessor(tiny_config, tokenizer, "point at <image-1>", num_views=1).prompt_text
    assert text.endswith("point at <image-1>" + CLOSING)
    with pytest.raises(ValueError, match="remove <IMG_CONTEXT> from it"):
        Gr00tProcessor(tiny_config, tokenizer, "see <IMG_CONTEXT>", num_views=1)


def test_prompt_tokens(tiny_config, tokenizer, processor):
    ids, mask = processor.prompt(3)
    assert ids.shape == mask.shape == (3, processor.prompt_length)
    assert ids.dtype == mask.dtype == torch.long
    assert bool((mask == 1).all()) and bool((ids == ids[0]).all())
    assert tokenizer.decode(ids[0]) == processor.prompt_text
    row = ids[0].tolist()
    image, start, end = 511, *tokenizer.convert_tokens_to_ids(["<img>", "</img>"])
    assert row.count(image) == 32 and row.count(start) == row.count(end) == 2
    first = row.index(start)
    assert row[first + 1 : first + 18] == [image] * 16 + [end]
    # one special token, then bytes: "system" is six of them
    assert row[0] == tokenizer.convert_tokens_to_ids("<|im_start|>") and max(row[1:7]) < 256


def test_image_numbers(processor):
    white, black = torch.full((1, 64, 64, 3), 255, dtype=torch.uint8), torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    white[0, 5, 7] = torch.tensor([0, 51, 102])
    pixels = processor.images([white, black])
    assert pixels.shape == (2, 3, 64, 64) and pixels.dtype == torch.float32
    torch.testing.assert_close(pixels[0, :, 5, 7], torch.tensor([-1.0, -0.6, -0.2]))
    assert pixels[0, 0, 0, 0] == 1.0 and bool((pixels[1] == -1.0).all())


def test_images_are_sample_major(processor):
    views = [torch.full((3, 64, 64, 3), 10 * view, dtype=torch.uint8) for view in range(2)]
    for view in views:
        view += torch.arange(3, dtype=torch.uint8)[:, None, None, None]
    levels = ((processor.images(views)[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()
    assert levels == [0, 10, 1, 11, 2, 12]  # sample 0: view 0, view 1; sample 1: ...


def test_each_image_reaches_its_own_tokens(tiny, processor):
    """Changing sample 1's second view moves features of sample 1 from that view's tokens on, and nothing else."""
    generator = torch.Generator().manual_seed(0)
    views = [torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=generator) for _ in range(2)]
    ids, mask = processor.prompt(2)
    before = tiny.encode(processor.images(views), ids, mask)
    views[1][1] = 255 - views[1][1]
    after = tiny.encode(processor.images(views), ids, mask)
    moved = (before - after).abs().amax(dim=-1) > 1e-4  # [B, T]
    second_view = int((ids[0] == 511).nonzero()[16])
    assert not moved[0].any()
    assert not moved[1, :second_view].any()
    assert moved[1, second_view:].all()


def test_resize_of_a_constant_and_of_an_edge(processor):
    flat = torch.full((1, 96, 128, 3), 100, dtype=torch.uint8)
    edge = torch.zeros(1, 128, 128, 3, dtype=torch.uint8)
    edge[:, :, 64:] = 255
    pixels = processor.images([flat, edge])
    assert pixels.shape == (2, 3, 64, 64)
    torch.testing.assert_close(pixels[0], torch.full((3, 64, 64), 100 / 127.5 - 1))
    assert pixels[1].min() == -1 and pixels[1].max() == 1  # no overshoot
    torch.testing.assert_close(pixels[1, :, :, :30], torch.full((3, 64, 30), -1.0))
    torch.testing.assert_close(pixels[1, :, :, 34:], torch.full((3, 64, 30), 1.0))


def test_wrong_images(processor):
    good = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match="give one per view"):
        processor.images([good])
    with pytest.raises(ValueError, match="expected uint8"):
        processor.images([good, good.float()])
    with pytest.raises(ValueError, match="expected uint8"):
        processor.images([good, torch.zeros(1, 64, 64, 4, dtype=torch.uint8)])


def test_state_and_action(processor):
    state = processor.state(torch.ones(2, 9, dtype=torch.float64))
    assert state.shape == (2, 1, 64) and state.dtype == torch.float32
    assert bool((state[..., :9] == 1).all()) and bool((state[..., 9:] == 0).all())
    chunk = torch.arange(2 * 16 * 32.0).view(2, 16, 32)
    assert torch.equal(processor.action(chunk, 7), chunk[..., :7])
    assert torch.equal(processor.pad_action(chunk[..., :7])[..., 7:], torch.zeros(2, 16, 25))
    with pytest.raises(ValueError, match="state has 65 dimensions, the network takes 64"):
        processor.state(torch.ones(2, 65))
    with pytest.raises(ValueError, match="action dim is 33"):
        processor.action(chunk, 33)


def test_tiny_tokenizer_from_its_files(tmp_path, tiny_config, tokenizer, processor):
    for name, content in tokenizer_assets(tokenizer).items():
        (tmp_path / name).write_bytes(content)
    assert not (tmp_path / "chat_template.jinja").exists()
    again = Gr00tProcessor(tiny_config, load_tokenizer(tmp_path), "Lift the cube.", num_views=2)
    assert again.prompt_text == processor.prompt_text
    assert torch.equal(again.prompt(1)[0], processor.prompt(1)[0])


def test_assets_in_the_released_layout(tmp_path, tokenizer):
    """vocab.json, merges.txt, added tokens and a template of their own, as the Eagle assets have them."""
    vocab = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))} | {"th": 256}
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"]
    added = {token: 257 + index for index, token in enumerate(special)}
    flags = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nt h\n")
    (tmp_path / "added_tokens.json").write_text(json.dumps(added))
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": tokenizer.chat_template}))
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "added_tokens_decoder": {str(index): {"content": token, **flags} for token, index in added.items()},
        "additional_special_tokens": special[1:],
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    sizes = Gr00tN1d5Config.tiny(image_token_index=262)
    ids, _ = Gr00tProcessor(sizes, load_tokenizer(tmp_path), "the path", num_views=1).prompt(1)
    assert ids[0].tolist().count(262) == 16 and ids[0].tolist().count(256) == 2


def test_wrong_assets(tmp_path, tiny_config, fixture_dir):
    with pytest.raises(CheckpointError, match=r"no tokenizer_config.json.*Eagle tokenizer assets"):
        load_tokenizer(fixture_dir)
    with pytest.raises(CheckpointError, match="no such folder"):
        load_tokenizer(tmp_path / "nowhere")
    other = tiny_tokenizer(Gr00tN1d5Config.tiny(image_token_index=300))
    with pytest.raises(CheckpointError, match="id of <IMG_CONTEXT> is 300, the model's is 511"):
        Gr00tProcessor(tiny_config, other)
    with pytest.raises(ValueError, match="needs at least 261 ids"):
        tiny_tokenizer(Gr00tN1d5Config.tiny(vocab_size=200))
