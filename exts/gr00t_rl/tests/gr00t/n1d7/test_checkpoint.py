# SPDX-License-Identifier: BSD-3-Clause
"""Loading and saving N1.7: names, exactness, and random networks. What generations share is tested with N1.5."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gr00t_rl.gr00t import CheckpointError, from_pretrained
from gr00t_rl.gr00t.n1d7.model import LAYOUT, Gr00tN1d7

INDEX = "model.safetensors.index.json"
LM_HEAD = "backbone.model.lm_head.weight"
EMBEDDING = "backbone.model.model.language_model.embed_tokens.weight"
NORM = "backbone.model.model.language_model.norm.weight"


def stored(folder: Path) -> dict[str, torch.Tensor]:
    names = set(json.loads((folder / INDEX).read_text())["weight_map"].values())
    return {key: value for name in sorted(names) for key, value in load_file(folder / name).items()}


def test_round_trip_is_exact(fixture_dir, tmp_path):
    """Names, shapes and types of the released classes, both ways; no ``lm_head``."""
    Gr00tN1d7.from_pretrained(fixture_dir).save_pretrained(tmp_path / "saved")
    before, after = stored(fixture_dir), stored(tmp_path / "saved")
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert value.dtype == after[key].dtype == torch.bfloat16
        assert torch.equal(value, after[key]), key
    old, new = (json.loads((folder / INDEX).read_text()) for folder in (fixture_dir, tmp_path / "saved"))
    assert old["weight_map"].keys() == new["weight_map"].keys()
    assert old["metadata"] == new["metadata"]


def test_saved_network_acts_alike(fixture_dir, io, tmp_path):
    from_pretrained(fixture_dir, dtype=torch.float32).save_pretrained(tmp_path / "saved")
    again = from_pretrained(tmp_path / "saved", dtype=torch.float32)
    assert isinstance(again, Gr00tN1d7)
    torch.testing.assert_close(again.get_action(io, io["noise"], 4), io["action_pred_steps4"], rtol=0, atol=1e-5)


def test_float32_weights_save_as_float32(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "saved")
    again = Gr00tN1d7.from_pretrained(tmp_path / "saved", dtype=torch.float32)
    assert again.config == tiny.config
    for (key, value), other in zip(tiny.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(value, other), key
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert saved["dtype"] == "float32"
    assert saved["image_target_size"] == [64, 64]


def test_language_head_is_accepted_and_not_read(folder):
    shard = folder / "model-00001-of-00002.safetensors"
    tensors = load_file(shard)
    save_file({**tensors, LM_HEAD: torch.full_like(stored(folder)[EMBEDDING], 7.0)}, shard, metadata={"format": "pt"})
    model = Gr00tN1d7.from_pretrained(folder)
    assert not [name for name, value in model.state_dict().items() if (value == 7).all()]
    assert LM_HEAD not in model.export_tensors()


def test_unused_norm_is_kept_and_without_effect(folder):
    model = Gr00tN1d7.from_pretrained(folder, torch.float32)
    ids = torch.arange(10)[None]
    before = model.get_action(text(ids), torch.ones(1, 10, 24))
    model.backbone.language_model.model.norm.weight.fill_(3.0)
    assert torch.equal(model.get_action(text(ids), torch.ones(1, 10, 24)), before)
    model.save_pretrained(folder)
    assert (stored(folder)[NORM] == 3.0).all()


def text(ids: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"input_ids": ids, "state": torch.ones(len(ids), 1, 30), "embodiment_id": torch.zeros_like(ids[:, 0])}


def test_assets_travel(folder, tmp_path):
    names = ("processor_config.json", "statistics.json", "embodiment_id.json", "chat_template.json", "tokenizer.json")
    names += ("preprocessor_config.json", "video_preprocessor_config.json")
    for name in names:
        (folder / name).write_text(json.dumps({"of": name}))
    Gr00tN1d7.from_pretrained(folder).save_pretrained(tmp_path / "saved")
    for name in names:
        assert json.loads((tmp_path / "saved" / name).read_text()) == {"of": name}


def test_released_sizes_where_the_backbone_says_none(folder):
    (folder / "qwen3_vl_config.json").unlink()
    with pytest.raises(CheckpointError, match="is 64 but hidden_size is 2048"):
        Gr00tN1d7.from_pretrained(folder)


def test_weights_of_another_depth_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "select_layer": 2}))
    with pytest.raises(CheckpointError, match=r"weights that GR00T N1.7 does not have, such as .*layers\.2\."):
        Gr00tN1d7.from_pretrained(folder)


def test_no_tensor_is_left_on_meta(model):
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert not [name for name, tensor in tensors.items() if tensor.is_meta]


def test_one_embodiment_goes_back_into_the_table(fixture_dir, io, tmp_path):
    model = Gr00tN1d7.from_pretrained(fixture_dir)
    model.action_head.slice_embodiment(1)
    with torch.no_grad():
        model.action_head.state_encoder.layer1.b.fill_(2.0)
    model.save_pretrained(tmp_path / "saved")
    before, after = stored(fixture_dir), stored(tmp_path / "saved")
    changed = [key for key in before if not torch.equal(before[key], after[key])]
    assert changed == ["action_head.state_encoder.layer1.b"]
    assert (after[changed[0]][1] == 2.0).all()
    assert torch.equal(after[changed[0]][0], before[changed[0]][0])


def test_names_on_disk_are_the_released_ones(tiny):
    for key in tiny.export_tensors():
        assert key.startswith(("backbone.model.model.visual.", "backbone.model.model.language_model.", "action_head."))
        assert LAYOUT.to_checkpoint_key(LAYOUT.to_module_key(key)) == key


# -- random networks --------------------------------------------------------------------------------------------------


def test_same_seed_same_bits_and_no_trace(tiny_config):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = Gr00tN1d7.from_config(tiny_config, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    second, other = Gr00tN1d7.from_config(tiny_config, seed=3), Gr00tN1d7.from_config(tiny_config, seed=4)
    half = Gr00tN1d7.from_config(tiny_config, seed=3, dtype=torch.bfloat16)
    for (key, a), b, rounded in zip(
        first.state_dict().items(), second.state_dict().values(), half.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), key
        assert torch.equal(a.bfloat16(), rounded), key
    for name in ("backbone.visual.model.blocks.0.attn.qkv.weight", "backbone.language_model.model.embed_tokens.weight"):
        assert not torch.equal(first.state_dict()[name], other.state_dict()[name])
    assert not first.training


@pytest.mark.parametrize("seed", [0, 1])
def test_random_network_answers_to_its_inputs(tiny_config, batch, seed):
    """Pictures, words, state, noise and time: each changes the velocity, and none drowns the others."""
    model = Gr00tN1d7.from_config(tiny_config, seed=seed)
    head, kinds = model.action_head, model.token_kinds(batch.prompt)
    features = model.encode(*batch)
    pixels = batch.pixels.clone()
    pixels[: 4 * 6] *= -1  # of the first picture of the first sample
    changed = model.encode(pixels, batch.prompt)
    assert relative(features[0], changed[0]) > 0.05
    assert relative(features[0, -1], changed[0, -1]) > 0.01  # the change reaches the end of the prompt

    generator = torch.Generator().manual_seed(seed)
    x, state = torch.randn(2, 16, 32, generator=generator), torch.randn(2, 1, 64, generator=generator)
    robot, bucket = torch.zeros(2, dtype=torch.long), torch.full((2,), 250)
    vl, seen = head.process_features(features), head.process_features(changed)
    context = head.prepare(vl, state, robot, kinds=kinds)
    v = head.velocity(x, bucket, context)
    assert 0.05 < v.std() < 5
    assert relative(v, head.velocity(x, bucket, head.prepare(vl, -state, robot, kinds=kinds))) > 0.01
    assert relative(v[0], head.velocity(x, bucket, head.prepare(seen, state, robot, kinds=kinds))[0]) > 0.01
    assert relative(v, head.velocity(-x, bucket, context)) > 0.1
    assert relative(v, head.velocity(x, 3 * bucket, context)) > 0.01


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / a.norm()).item()
