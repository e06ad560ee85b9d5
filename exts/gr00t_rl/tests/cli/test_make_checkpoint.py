# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints of random weights: they load and run, and wrong sizes end in one line."""

from __future__ import annotations

import pytest
import torch

from gr00t_rl.cli.make_checkpoint import SIZES, main
from gr00t_rl.gr00t import (
    GENERATIONS,
    Gr00tN1d5,
    Gr00tN1d5Config,
    Gr00tN1d5Processor,
    Gr00tN1d7,
    Gr00tN1d7Processor,
    from_pretrained,
    generation,
    load_tokenizer,
)
from gr00t_rl.gr00t.n1d5 import tiny_tokenizer
from gr00t_rl.gr00t.n1d5.prompt import IMAGE_TOKEN
from gr00t_rl.utils.errors import ConfigurationError


def test_a_checkpoint_that_runs(tmp_path):
    out = tmp_path / "tiny"
    assert main(["--out", str(out), "--seed", "5", "--image_size", "32", "--dit_layers", "4"]) == 0
    model = Gr00tN1d5.from_pretrained(out, dtype=torch.float32)
    assert model.config.vision.image_size == 32 and len(model.action_head.model.transformer_blocks) == 4
    processor = Gr00tN1d5Processor(model.config, load_tokenizer(out), "Push.", num_views=1)
    inputs = {
        "eagle_pixel_values": processor.images([torch.zeros(2, 32, 32, 3, dtype=torch.uint8)]),
        "eagle_input_ids": processor.prompt(2).input_ids,
        "state": processor.state(torch.zeros(2, 9)),
        "embodiment_id": torch.tensor([0, 1]),
    }
    assert model.get_action(inputs).shape == (2, 16, 32)


def test_a_checkpoint_of_n1d7_that_runs(tmp_path):
    """By the names of the release's inputs, for two pictures that the processor reads the file's sizes for."""
    out = tmp_path / "tiny"
    sizes = ["--image_size", "32", "--patch_size", "8", "--vision_layers", "3", "--state_history_length", "2"]
    assert main(["--generation", "n1.7", "--out", str(out), "--seed", "5", *sizes]) == 0
    model = from_pretrained(out, dtype=torch.float32)
    assert type(model) is Gr00tN1d7 and model.config.vision.depth == 3
    processor = Gr00tN1d7Processor(
        model.config, load_tokenizer(out), "Push.", num_views=2, image_sizes=[(48, 64)] * 2, assets=model.assets
    )
    prompt = processor.prompt(2)
    assert prompt.grids == ((1, 4, 4),) * 2
    inputs = {
        "pixel_values": processor.images([torch.zeros(2, 48, 64, 3, dtype=torch.uint8)] * 2),
        "image_grid_thw": torch.tensor([prompt.grids[0]] * 4),
        "input_ids": prompt.input_ids,
        "attention_mask": torch.ones_like(prompt.input_ids),
        "state": processor.state(torch.zeros(2, 2, 9)),
        "embodiment_id": torch.tensor([0, 1]),
    }
    noise = torch.zeros(2, 16, 32)
    found = model.get_action(inputs, noise)
    assert found.shape == (2, 16, 32) and found.isfinite().all()
    assert not torch.equal(found[0], found[1])  # the embodiments' weights differ, and nothing else does


@pytest.mark.parametrize("name", GENERATIONS)
def test_each_generation_s_own_sizes_and_no_others(name, tmp_path):
    """Whichever size only another generation has is refused before anything is written."""
    own = set(SIZES[name])
    foreign = {size for other in SIZES.values() for size in other} - own
    assert foreign
    for size in sorted(foreign):
        with pytest.raises(ConfigurationError) as error:
            main(["--generation", name, "--out", str(tmp_path / "out"), f"--{size}", "2"])
        assert str(error.value) == f"[gr00t_rl] --{size} is no size of --generation {name}; drop it"
    assert not (tmp_path / "out").exists()
    assert main(["--generation", name, "--out", str(tmp_path / "out"), "--dit_layers", "6", "--vl_layers", "2"]) == 0
    model = from_pretrained(tmp_path / "out")
    assert type(model) is generation(name).Network and model.config.action_head.dit_layers == 6


def test_the_type_on_disk_and_the_seed(tmp_path):
    for name, options in (("a", ["--dtype", "bfloat16"]), ("b", []), ("c", ["--seed", "1"])):
        assert main(["--out", str(tmp_path / name), *options]) == 0
    half, whole, other = (Gr00tN1d5.from_pretrained(tmp_path / name, dtype=torch.float32) for name in "abc")
    sizes = [sum(file.stat().st_size for file in (tmp_path / name).glob("*.safetensors")) for name in "ab"]
    assert sizes[0] < 0.6 * sizes[1]
    weight = [model.action_head.model.proj_out_2.weight for model in (half, whole, other)]
    assert torch.equal(weight[0], weight[1].bfloat16().float()) and not torch.equal(weight[1], weight[2])


def test_the_full_size_has_a_tokenizer():
    """Not the weights, which take a minute: what is made besides fits a vocabulary of 151,680."""
    config = Gr00tN1d5Config.full_size()
    tokenizer = tiny_tokenizer(config)
    assert tokenizer.convert_tokens_to_ids(IMAGE_TOKEN) == config.image_token_index == 151669
    assert max(tokenizer.encode("push the red cube")) < config.text.vocab_size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dit_heads", "7"], "DiT heads x head_dim is 63 but input_embedding_dim is 64"),
        (["--dit_heads", "0"], "--dit_heads is 0; set 1 or more"),
        (["--full-size", "--image_size", "32"], "--image_size is a size, but --full-size has its own"),
        (["--generation", "n1.7", "--image_size", "40"], "image_size 40 is no multiple of 2 x patch_size 8"),
        (["--generation", "n1.7", "--dit_heads", "7"], "DiT heads x head_dim is 63 but input_embedding_dim is 64"),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, options, message):
    with pytest.raises(ConfigurationError, match=message) as error:
        main(["--out", str(tmp_path / "out"), *options])
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_what_is_no_checkpoint_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("important")
    with pytest.raises(ConfigurationError, match="exists and is no checkpoint"):
        main(["--out", str(tmp_path)])
