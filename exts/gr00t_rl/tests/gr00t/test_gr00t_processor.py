# SPDX-License-Identifier: BSD-3-Clause
"""Prompt layout, images, state and action, and the two kinds of tokenizer assets."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from tokenizers import pre_tokenizers
from torchvision.transforms import v2

from gr00t_rl.gr00t import (
    CheckpointError,
    Gr00tN1d5,
    Gr00tN1d5Config,
    Gr00tN1d5Processor,
    Modality,
    Statistics,
    load_tokenizer,
    tokenizer_assets,
)
from gr00t_rl.gr00t.n1d5 import tiny_tokenizer
from gr00t_rl.gr00t.processor import middle

OPENING = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
CLOSING = "<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def tokenizer(tiny_config):
    return tiny_tokenizer(tiny_config)


@pytest.fixture
def processor(tiny_config, tokenizer):
    return Gr00tN1d5Processor(tiny_config, tokenizer, "Lift the cube.", num_views=2)


def test_prompt_text(tiny_config, tokenizer, processor):
    image = "<img>" + "<IMG_CONTEXT>" * 16 + "</img>"
    assert processor.prompt_texts[0] == OPENING + f"<image 1>{image}<image 2>{image}" + "Lift the cube." + CLOSING
    blind = Gr00tN1d5Processor(tiny_config, tokenizer, "Lift the cube.", num_views=0)
    assert blind.prompt_texts[0] == OPENING + "Lift the cube." + CLOSING
    default = Gr00tN1d5Processor(tiny_config, tokenizer, formalize_language=True, num_views=0)
    assert default.prompt_texts[0] == OPENING + "perform the default behavior" + CLOSING


def test_instruction_that_looks_like_a_placeholder_stays(tiny_config, tokenizer):
    text = Gr00tN1d5Processor(tiny_config, tokenizer, "point at <image-1>", num_views=1).prompt_texts[0]
    assert text.endswith("point at <image-1>" + CLOSING)
    with pytest.raises(ValueError, match="remove <IMG_CONTEXT> from it"):
        Gr00tN1d5Processor(tiny_config, tokenizer, "see <IMG_CONTEXT>", num_views=1)


def test_prompt_tokens(tiny_config, tokenizer, processor):
    ids = processor.prompt(3).input_ids
    assert ids.shape == (3, processor.prompt_length) and ids.dtype == torch.long
    assert processor.token_mask(3) is None and bool((ids == ids[0]).all())
    assert tokenizer.decode(ids[0]) == processor.prompt_texts[0]
    row = ids[0].tolist()
    image, start, end = 511, *tokenizer.convert_tokens_to_ids(["<img>", "</img>"])
    assert row.count(image) == 32 and row.count(start) == row.count(end) == 2
    first = row.index(start)
    assert row[first + 1 : first + 18] == [image] * 16 + [end]
    # one special token, then the corpus's words as one token each
    assert tokenizer.convert_ids_to_tokens(row[:7]) == ["<|im_start|>", "system", "Ċ", "You", "Ġare", "Ġa", "Ġhelpful"]


def test_words_that_no_merge_makes_are_spelled_in_bytes(tokenizer):
    assert len(tokenizer("push the red cube to the green target")["input_ids"]) == 8
    unknown = tokenizer("zig Ü")["input_ids"]
    assert tokenizer.decode(unknown) == "zig Ü" and max(unknown) < 256


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
    prompt = processor.prompt(2)
    ids = prompt.input_ids
    before = tiny.encode(processor.images(views), prompt)
    views[1][1] = 255 - views[1][1]
    after = tiny.encode(processor.images(views), prompt)
    moved = (before - after).abs().amax(dim=-1) > 1e-4  # [B, T]
    second_view = int((ids[0] == 511).nonzero()[16])
    assert not moved[0].any()
    assert not moved[1, :second_view].any()
    assert moved[1, second_view:].all()


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


# -- modalities --------------------------------------------------------------------------------------------------------

MODALITY = Modality.from_dict(
    {
        "embodiment_tag": "new_embodiment",
        "video": {"front": "front", "wrist": "wrist"},
        "state": {
            "arm": {"group": "policy", "start": 2, "end": 4, "normalization": "min_max"},
            "yaw": {"group": "pose", "start": 0, "end": 1, "normalization": None, "sin_cos": True},
            "goal": {"group": "policy", "start": 0, "end": 1, "normalization": None},
        },
        # the network's order is not the env's
        "action": {
            "gripper": {"start": 2, "end": 3, "normalization": "binary"},
            "delta": {"start": 0, "end": 2, "normalization": "mean_std"},
        },
    }
)
STATISTICS = Statistics(
    {"arm": {"min": torch.tensor([0.0, -4.0]), "max": torch.tensor([10.0, 2.0])}},
    {"gripper": {}, "delta": {"mean": torch.tensor([4.0, -1.0]), "std": torch.tensor([2.0, 0.5])}},
)


@pytest.fixture
def robot(tiny_config, tokenizer):
    """A processor with the modality above."""
    return Gr00tN1d5Processor(tiny_config, tokenizer, "Lift the cube.", modality=MODALITY, statistics=STATISTICS)


def test_views_are_the_modality_s(robot, tiny_config, tokenizer):
    assert robot.num_views == 2 and "<image 2>" in robot.prompt_texts[0]
    with pytest.raises(ValueError, match="num_views is 1"):
        Gr00tN1d5Processor(tiny_config, tokenizer, num_views=1, modality=MODALITY, statistics=STATISTICS)


def released(image: torch.Tensor, share: float, size: int) -> torch.Tensor:
    """Pictures as N1.5's released data configs evaluate them, by torchvision's own classes: uint8 [N, S, S, 3]."""
    x = image.float() / 255  # VideoToTensor
    height, width = image.shape[1:3]
    x = v2.CenterCrop((int(height * share), int(width * share)))(x.permute(0, 3, 1, 2))  # VideoCrop
    x = v2.Resize((size, size), interpolation=v2.InterpolationMode.BILINEAR, antialias=True)(x)  # VideoResize
    return (x.permute(0, 2, 3, 1) * 255).to(torch.uint8)  # VideoToNumpy


@pytest.mark.parametrize("share", [1.0, 0.95, 0.5])
@pytest.mark.parametrize("size", [(64, 64), (96, 128), (128, 96), (67, 67), (48, 61), (480, 640)])
def test_pictures_as_the_released_configs_evaluate_them(tiny_config, tokenizer, size, share):
    modality = dataclasses.replace(MODALITY, video_crop=share)
    processor = Gr00tN1d5Processor(tiny_config, tokenizer, modality=modality, statistics=STATISTICS)
    views = [torch.randint(0, 256, (2, *size, 3), dtype=torch.uint8) for _ in range(2)]
    flat = torch.full_like(views[0], 100)
    for pair in (views, [flat, flat]):
        pixels = processor.images(pair)
        assert pixels.shape == (4, 3, 64, 64)
        expected = torch.stack([released(view, share, 64) for view in pair], dim=1).flatten(0, 1)
        assert torch.equal(((pixels.permute(0, 2, 3, 1) + 1) * 127.5).round().to(torch.uint8), expected)
        torch.testing.assert_close(processor.images([middle(view, share) for view in pair], is_cropped=True), pixels)


@pytest.mark.parametrize("crop", [0, -0.1, 1.01, True, "0.95", None, float("nan")])
def test_a_crop_that_cannot_be_meant(crop):
    with pytest.raises(ValueError, match=r"video_crop is .*; set the share"):
        dataclasses.replace(MODALITY, video_crop=crop)


def test_state_of_a_modality(robot):
    obs = {
        "policy": torch.tensor([[0.3, 99.0, 2.5, -4.0], [-0.3, 99.0, 10.0, 0.5]]),
        "pose": torch.tensor([[torch.pi / 2], [-torch.pi / 6]]),
    }
    state = robot.state(MODALITY.select_state(obs))
    expected = [[-0.5, -1.0, 1.0, 0.0, 0.3], [1.0, 0.5, -0.5, 0.75**0.5, -0.3]]  # arm, sin, cos, goal
    assert state.shape == (2, 1, 64) and not state[..., 5:].any()
    torch.testing.assert_close(state[:, 0, :5], torch.tensor(expected), atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="state has 5 dimensions, the modality 4"):
        robot.state(torch.zeros(2, 5))


def test_action_of_a_modality(robot):
    """Network order: gripper, delta x, delta y; env order: delta x, delta y, gripper."""
    chunk = torch.zeros(1, 16, 32)
    chunk[0, 0, :4] = torch.tensor([0.6, 0.5, -2.0, 77.0])
    chunk[0, 1, :4] = torch.tensor([0.4, 0.0, 0.0, 77.0])
    env = robot.action(chunk, 3)
    assert env.shape == (1, 16, 3)
    assert env[0, :2].tolist() == [[5.0, -2.0, 1.0], [4.0, -1.0, 0.0]]
    again = robot.pad_action(env)
    assert again.shape == (1, 16, 32) and not again[..., 3:].any()
    assert again[0, 0, :3].tolist() == [1.0, 0.5, -2.0]
    with pytest.raises(ValueError, match="action dim is 4, the modality has 3"):
        robot.action(chunk, 4)
    with pytest.raises(ValueError, match="action has 4 dimensions, the modality 3"):
        robot.pad_action(torch.zeros(1, 16, 4))


def test_modality_without_its_statistics(tiny_config, tokenizer):
    with pytest.raises(ValueError, match=r"state\.arm has no statistics"):
        Gr00tN1d5Processor(tiny_config, tokenizer, modality=MODALITY)


# -- several instructions ----------------------------------------------------------------------------------------------


def test_prompts_of_different_length_are_padded_on_the_right(tiny_config, tokenizer):
    texts = ["Go.", "Lift the cube.", "Push it."]
    processor = Gr00tN1d5Processor(tiny_config, tokenizer, texts, num_views=1)
    rows = torch.tensor([1, 0, 0, 2])
    ids, mask = processor.prompt(rows).input_ids, processor.token_mask(rows)
    assert mask is not None and ids.shape == mask.shape == (4, processor.prompt_length)
    for row, index in enumerate(rows.tolist()):
        alone = Gr00tN1d5Processor(tiny_config, tokenizer, texts[index], num_views=1).prompt(1).input_ids[0]
        assert ids[row, : len(alone)].tolist() == alone.tolist()
        assert mask[row].tolist() == [True] * len(alone) + [False] * (ids.shape[1] - len(alone))
        assert not (ids[row, len(alone) :] == tiny_config.image_token_index).any()
    assert torch.equal(processor.prompt(2).input_ids, processor.prompt(torch.tensor([0, 0])).input_ids)
    equal = Gr00tN1d5Processor(tiny_config, tokenizer, ["push the cube", "push the ball"], num_views=1)
    assert equal.token_mask(torch.tensor([0, 1])) is None
    with pytest.raises(ValueError, match="list of instructions is empty"):
        Gr00tN1d5Processor(tiny_config, tokenizer, [])


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_padding_does_not_leak(tiny_config, tokenizer, implementation):
    """Features and velocity of a padded prompt are those of the prompt alone; without the mask they are not."""
    model = Gr00tN1d5.from_config(tiny_config, seed=0, dtype=torch.float64, attn_implementation=implementation)
    head, generator = model.action_head, torch.Generator().manual_seed(0)
    texts = ["Go.", "Push the cube to the green target, please."]
    views = [torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=generator)]
    state, x = (torch.randn(2, *shape, generator=generator) for shape in ((1, 64), (16, 32)))
    robot, bucket = torch.zeros(2, dtype=torch.long), torch.full((2,), 250)

    def velocity(processor: Gr00tN1d5Processor, rows: torch.Tensor, masked: bool = True) -> torch.Tensor:
        mask = processor.token_mask(rows) if masked else None
        features = model.encode(processor.images(views).double(), processor.prompt(rows))
        ctx = head.prepare(head.process_features(features, mask), state, robot, mask)
        return head.velocity(x.double(), bucket, ctx)

    both = Gr00tN1d5Processor(tiny_config, tokenizer, texts, num_views=1)
    together = velocity(both, torch.tensor([0, 1]))
    leaking = velocity(both, torch.tensor([0, 1]), masked=False)
    for row, text in enumerate(texts):
        alone = velocity(Gr00tN1d5Processor(tiny_config, tokenizer, text, num_views=1), torch.tensor([0, 0]))
        torch.testing.assert_close(together[row], alone[row], atol=1e-6, rtol=0)
    assert (leaking[0] - together[0]).abs().max() > 1e-4
    torch.testing.assert_close(leaking[1], together[1], atol=1e-6, rtol=0)  # the longest has no padding


# -- assets ------------------------------------------------------------------------------------------------------------


def test_tiny_tokenizer_from_its_files(tmp_path, tiny_config, tokenizer, processor):
    for name, content in tokenizer_assets(tokenizer).items():
        (tmp_path / name).write_bytes(content)
    assert not (tmp_path / "chat_template.jinja").exists()
    again = Gr00tN1d5Processor(tiny_config, load_tokenizer(tmp_path), "Lift the cube.", num_views=2)
    assert again.prompt_texts[0] == processor.prompt_texts[0]
    assert torch.equal(again.prompt(1).input_ids, processor.prompt(1).input_ids)


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
    ids = Gr00tN1d5Processor(sizes, load_tokenizer(tmp_path), "the path", num_views=1).prompt(1).input_ids
    assert ids[0].tolist().count(262) == 16 and ids[0].tolist().count(256) == 2


def test_wrong_assets(tmp_path, tiny_config, fixture_dir):
    with pytest.raises(CheckpointError, match=r"no tokenizer_config.json.*tokenizer assets"):
        load_tokenizer(fixture_dir)
    with pytest.raises(CheckpointError, match="no such folder"):
        load_tokenizer(tmp_path / "nowhere")
    other = tiny_tokenizer(Gr00tN1d5Config.tiny(image_token_index=300))
    with pytest.raises(CheckpointError, match="id of <IMG_CONTEXT> is 300, the model's is 511"):
        Gr00tN1d5Processor(tiny_config, other)
    with pytest.raises(ValueError, match="needs at least 261 ids"):
        tiny_tokenizer(Gr00tN1d5Config.tiny(vocab_size=200))
