# SPDX-License-Identifier: BSD-3-Clause
"""Sizes of N1.7: what is read, what is written, and what is refused."""

from __future__ import annotations

import copy
import inspect
import json
from typing import Any

import pytest

from gr00t_rl.gr00t import ActionHeadConfig
from gr00t_rl.gr00t.generations import tiny_for_image
from gr00t_rl.gr00t.n1d5.config import Gr00tN1d5Config
from gr00t_rl.gr00t.n1d7.config import Gr00tN1d7Config
from gr00t_rl.gr00t.n1d7.sizes import TextConfig, VisionConfig


@pytest.fixture
def files(fixture_dir) -> dict[str, dict[str, Any]]:
    return {name: json.loads((fixture_dir / name).read_text()) for name in Gr00tN1d7Config.files}


@pytest.mark.parametrize(
    "config",
    [
        Gr00tN1d7Config.full_size(),
        Gr00tN1d7Config.tiny(),
        Gr00tN1d7Config.tiny(dit_layers=6, attend_text_every_n_blocks=3, state_history_length=2, image_size=32),
        Gr00tN1d7Config.tiny(text_hidden_size=96, text_layers=3, vision_layers=3, patch_size=4),
    ],
)
def test_config_survives_its_own_files(config):
    assert Gr00tN1d7Config.from_files(config.to_files("float32")) == config
    through_text = json.loads(json.dumps(config.to_files("bfloat16")))
    again = Gr00tN1d7Config.from_files(through_text)
    assert again == config
    assert again.to_files("bfloat16") == through_text


def test_files_keep_every_entry(files):
    """Also those that are not ours, and those of sections."""
    files["config.json"]["mine"] = {"deep": [1, 2]}
    files["config.json"]["diffusion_model_cfg"]["theirs"] = None
    files["qwen3_vl_config.json"]["text_config"]["bos_token_id"] = 1
    before = copy.deepcopy(files)
    written = Gr00tN1d7Config.from_files(files).to_files("bfloat16")
    assert files == before
    for name, content in before.items():
        content |= {"dtype": "bfloat16"} if name == "config.json" else {}
        assert_within(content, written[name])


def assert_within(old: dict[str, Any], new: dict[str, Any]) -> None:
    for key, value in old.items():
        if isinstance(value, dict):
            assert_within(value, new[key])
        else:
            assert new[key] == value, key


def test_released_sizes_where_nothing_is_said():
    assert Gr00tN1d7Config.from_dicts({"model_type": "Gr00tN1d7"}) == Gr00tN1d7Config.full_size()
    said = {"model_type": "Gr00tN1d7", "action_horizon": 16, "diffusion_model_cfg": {"num_layers": 16}}
    found = Gr00tN1d7Config.from_dicts(said).action_head
    assert (found.action_horizon, found.dit_layers, found.dit_heads, found.action_dim) == (16, 16, 32, 132)
    pictures = {"model_type": "Gr00tN1d7", "image_target_size": None, "use_percentiles": False}
    raw = Gr00tN1d7Config.from_dicts(pictures).raw_config
    assert raw["image_target_size"] is None and not raw["use_percentiles"]  # said, unlike
    assert raw["image_crop_size"] == Gr00tN1d7Config.full_size().raw_config["image_crop_size"] == [230, 230]


def test_entries_of_another_generation_are_not_read():
    """``action_dim`` and N1.5's future tokens are none of this config.json's names."""
    config = {"model_type": "Gr00tN1d7", "action_dim": 7, "num_target_vision_tokens": 32, "dit_layers": 3}
    assert Gr00tN1d7Config.from_dicts(config) == Gr00tN1d7Config.full_size()


def test_sizes_that_files_say(files):
    config, qwen = files["config.json"], files["qwen3_vl_config.json"]
    found = Gr00tN1d7Config.from_files(files)
    assert found.action_head.action_dim == config["max_action_dim"]
    assert found.action_head.state_history_length == config["state_history_length"]
    assert found.action_head.attend_text_every_n_blocks == config["attend_text_every_n_blocks"]
    assert found.action_head.vl_heads == config["vl_self_attention_cfg"]["num_attention_heads"]
    assert found.select_layer == config["select_layer"]
    assert found.image_token_index == found.image_token_id == qwen["image_token_id"]
    assert found.feature_dim == config["backbone_embedding_dim"]
    assert list(found.text.mrope_section) == qwen["text_config"]["rope_scaling"]["mrope_section"]
    assert list(found.vision.deepstack_visual_indexes) == qwen["vision_config"]["deepstack_visual_indexes"]


def test_rotary_sizes_are_read_as_transformers_5_writes_them(files):
    expected = Gr00tN1d7Config.from_files(files)
    text = files["qwen3_vl_config.json"]["text_config"]
    text["rope_parameters"] = {**text.pop("rope_scaling"), "rope_theta": text.pop("rope_theta")}
    assert Gr00tN1d7Config.from_files(files) == expected


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("model_type", "gr00t_n1_5", "give a GR00T N1.7 checkpoint"),
        ("use_alternate_vl_dit", False, "use_alternate_vl_dit is False"),
        ("add_pos_embed", False, "add_pos_embed is False"),
        ("use_vlln", False, "use_vlln is False"),
        ("reproject_vision", True, "reproject_vision is True"),
        ("strict_action_padding_mask", True, "strict_action_padding_mask is True"),
        ("backbone_model_type", "eagle", "backbone_model_type is 'eagle'"),
        ("diffusion_model_cfg.norm_type", "layer_norm", "norm_type is 'layer_norm'"),
        ("diffusion_model_cfg.positional_embeddings", "sinusoidal", "positional_embeddings is 'sinusoidal'"),
        ("vl_self_attention_cfg.positional_embeddings", "sinusoidal", "positional_embeddings is 'sinusoidal'"),
        ("diffusion_model_cfg.interleave_self_attention", False, "interleave_self_attention is False"),
        ("diffusion_model_cfg.output_dim", 7, "output_dim is 7 but hidden_size"),
        ("vl_self_attention_cfg.num_layers", 0, "vl_layers is 0"),
        ("vl_self_attention_cfg", None, "vl_self_attention_cfg is missing"),
        ("attend_text_every_n_blocks", 0, "attend_text_every_n_blocks is 0"),
        ("max_action_dim", "24", "action_dim is '24', not a size"),
        ("backbone_embedding_dim", 7, "make them equal"),
        ("select_layer", 9, "select_layer is 9, num_hidden_layers"),
        ("select_layer", 1, "keep at least as many layers"),
    ],
)
def test_other_networks_are_refused_in_one_line(files, entry, value, message):
    edit(files["config.json"], entry, value)
    assert_refused(files, message)


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("image_token_id", 600, "outside the vocabulary"),
        ("tie_word_embeddings", False, "tie_word_embeddings is False"),
        ("vision_config.out_hidden_size", 7, "out_hidden_size is 7"),
        ("vision_config.deepstack_visual_indexes", [0, 9], "not different blocks"),
        ("vision_config.deepstack_visual_indexes", [0, 0], "not different blocks"),
        ("vision_config.deepstack_visual_indexes", "0", "not a list of integers"),
        ("vision_config.num_position_embeddings", 35, "no square number"),
        ("vision_config.num_heads", 16, "as rotary positions in rows and columns need"),
        ("vision_config.in_channels", 4, "in_channels is 4"),
        ("text_config.rope_scaling.mrope_section", [1, 1, 1], "three that sum to"),
        ("text_config.rope_scaling.mrope_interleaved", False, "mrope_interleaved is False"),
        ("text_config.rope_scaling.rope_type", "yarn", "rope_type is 'yarn'"),
        ("text_config.num_key_value_heads", 7, "no multiple of 7 key-value heads"),
        ("text_config.attention_bias", True, "attention_bias is True"),
    ],
)
def test_other_backbones_are_refused_in_one_line(files, entry, value, message):
    edit(files["qwen3_vl_config.json"], entry, value)
    assert_refused(files, message)


def edit(table: dict[str, Any], entry: str, value: object) -> None:
    *path, last = entry.split(".")
    for name in path:
        table = table[name]
    table[last] = value


def assert_refused(files: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Gr00tN1d7Config.from_files(files)
    assert "\n" not in str(caught.value)


def test_tiny_takes_what_the_other_generation_takes():
    """Command lines set sizes without asking which generation it is; every keyword is an integer."""
    theirs, ours = (inspect.signature(config.tiny).parameters for config in (Gr00tN1d5Config, Gr00tN1d7Config))
    assert theirs.keys() - ours.keys() == {"num_target_vision_tokens"}
    assert all(type(p.default) is int or name == "image_token_index" for name, p in ours.items())


@pytest.mark.parametrize("side", [32, 64, 96, 200, 224])
def test_tiny_takes_cameras_as_they_are(side):
    config = tiny_for_image(Gr00tN1d7Config, side, text_layers=3)
    assert config.raw_config["image_target_size"] == config.raw_config["image_crop_size"] == [side, side]
    patches = side // config.vision.patch_size
    assert patches * config.vision.patch_size == side
    assert 4**2 <= config.tokens_of((1, patches, patches)) <= 8**2
    assert config.select_layer == 3


def test_tiny_resizes_other_cameras():
    assert tiny_for_image(Gr00tN1d7Config, 50) == tiny_for_image(Gr00tN1d7Config, 64)
    assert tiny_for_image(Gr00tN1d7Config, None) == Gr00tN1d7Config.tiny()


def test_impossible_tiny_sizes_are_refused():
    for sizes, message in (
        ({"image_size": 60}, "no multiple of 2 x patch_size"),
        ({"dit_heads": 7}, "make them equal"),
        ({"vision_heads": 5}, "no multiple of 4 x 5 heads"),
        ({"vocab_size": 512, "image_token_index": 512}, "outside the vocabulary"),
    ):
        with pytest.raises(ValueError, match=message):
            Gr00tN1d7Config.tiny(**sizes)
    with pytest.raises(ValueError, match="none of the one and alternates"):
        Gr00tN1d7Config(VisionConfig(), TextConfig(), ActionHeadConfig())
