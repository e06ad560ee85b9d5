# SPDX-License-Identifier: BSD-3-Clause
"""The network against the released code's outputs, and against its published sizes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gr00t_rl.gr00t import CheckpointError, Gr00tN1d5, Gr00tN1d5Config


def encode(model: Gr00tN1d5, io: dict[str, Tensor]) -> Tensor:
    return model.encode(*model.read_inputs(io))


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_features_match_reference(fixture_dir, io, implementation):
    model = Gr00tN1d5.from_pretrained(fixture_dir, torch.float32, attn_implementation=implementation)
    torch.testing.assert_close(encode(model, io), io["backbone_features"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 4, 10])
def test_actions_match_reference(model, io, steps):
    actions = model.get_action(io, noise=io["noise"], num_inference_timesteps=steps)
    torch.testing.assert_close(actions, io[f"action_pred_steps{steps}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 4, 10])
def test_denoising_loop_matches_reference(model, io, steps):
    head = model.action_head
    ctx = head.prepare(head.process_features(io["backbone_features"]), io["state"], io["embodiment_id"])
    x = io["noise"]
    for k in range(steps):
        x = x + head.velocity(x, torch.full((3,), int(k / steps * 1000)), ctx) / steps
    torch.testing.assert_close(x, io[f"action_pred_steps{steps}"], rtol=0, atol=1e-5)


def test_mask_of_ones_may_be_left_out(model, io):
    features = encode(model, {name: io[name] for name in io if name != "eagle_attention_mask"})
    torch.testing.assert_close(features, io["backbone_features"], rtol=0, atol=1e-5)


def test_bfloat16_is_close_and_gives_float32_velocity(fixture_dir, io):
    model = Gr00tN1d5.from_pretrained(fixture_dir)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert not model.training
    assert encode(model, io).dtype == torch.bfloat16
    actions = model.get_action(io, noise=io["noise"])
    assert actions.dtype == torch.float32
    torch.testing.assert_close(actions, io["action_pred_steps4"], rtol=0.1, atol=0.1)


def test_rotary_frequencies_stay_float32(tiny):
    rotary = tiny.backbone.eagle_model.language_model.model.rotary_emb
    before = rotary.inv_freq.clone()
    tiny.to(torch.bfloat16)
    assert rotary.inv_freq.dtype == torch.float32
    assert torch.equal(rotary.inv_freq, before)


def test_text_only_prompt(model, io):
    ids = torch.arange(10).expand(2, -1)
    features = encode(model, {"eagle_input_ids": ids, "eagle_attention_mask": torch.ones_like(ids)})
    assert features.shape == (2, 10, 64)


def test_wrong_images_are_refused(model, io):
    with pytest.raises(ValueError, match="resize the images"):
        encode(model, {**io, "eagle_pixel_values": io["eagle_pixel_values"][..., :42]})
    with pytest.raises(ValueError, match="as many views"):
        encode(model, {**io, "eagle_pixel_values": io["eagle_pixel_values"].repeat(2, 1, 1, 1)})
    with pytest.raises(ValueError, match="as many views"):
        encode(model, {"eagle_input_ids": io["eagle_input_ids"]})


def count(module: nn.Module) -> float:
    return round(sum(p.numel() for p in module.parameters()) / 1e6, 2)


def test_full_size_parameter_counts():
    with torch.device("meta"):
        model = Gr00tN1d5(Gr00tN1d5Config.full_size())
    eagle, head = model.backbone.eagle_model, model.action_head
    found = {
        "vision_model": count(eagle.vision_model),
        "pooling head": count(eagle.vision_model.head),
        "mlp1": count(eagle.mlp1),
        "language_model": count(eagle.language_model.model),
        "embedding": count(eagle.language_model.model.embed_tokens),
        "DiT": count(head.model),
        "vl_self_attention": count(head.vl_self_attention),
        "action_encoder": count(head.action_encoder),
        "state_encoder": count(head.state_encoder),
        "action_decoder": count(head.action_decoder),
        "total": count(model),
    }
    assert found == {
        "vision_model": 427.68,
        "pooling head": 15.24,
        "mlp1": 2.36,
        "language_model": 914.67,
        "embedding": 310.64,
        "DiT": 550.39,
        "vl_self_attention": 201.43,
        "action_encoder": 228.21,
        "state_encoder": 52.51,
        "action_decoder": 34.64,
        "total": 2413.52,
    }


def test_full_size_stored_tensors():
    with torch.device("meta"):
        model = Gr00tN1d5(Gr00tN1d5Config.full_size())
    stored = model.export_tensors()
    assert round(sum(t.numel() for t in stored.values()) / 1e6, 2) == 2724.16
    shapes = {key: tuple(tensor.shape) for key, tensor in stored.items()}
    vision = "backbone.eagle_model.vision_model.vision_model."
    assert shapes[vision + "embeddings.position_embedding.weight"] == (256, 1152)
    assert shapes["backbone.eagle_model.mlp1.0.weight"] == (2048, 1152)
    assert shapes["backbone.eagle_model.language_model.lm_head.weight"] == (151680, 2048)
    assert shapes["action_head.action_encoder.W2.W"] == (32, 3072, 1536)
    assert shapes["action_head.model.transformer_blocks.0.attn1.to_k.weight"] == (1536, 2048)
    assert shapes["action_head.model.transformer_blocks.1.attn1.to_k.weight"] == (1536, 1536)
    assert shapes["action_head.model.proj_out_2.weight"] == (1024, 1536)
    assert not any("vision_model.vision_model.vision_model" in key for key in shapes)


def test_config_survives_its_own_files():
    for config in (Gr00tN1d5Config.full_size(), Gr00tN1d5Config.tiny(dit_layers=4, image_size=32)):
        assert Gr00tN1d5Config.from_dicts(config.to_config_dict("float32"), config.to_eagle_dict()) == config


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="make them equal"):
        Gr00tN1d5Config.tiny(dit_heads=7)
    with pytest.raises(ValueError, match="no multiple of patch_size"):
        Gr00tN1d5Config.tiny(image_size=60)
    assert issubclass(CheckpointError, ValueError)


def test_unknown_attention_is_refused(tiny_config):
    with pytest.raises(ValueError, match="set one of sdpa, eager, flash_attention_2"):
        Gr00tN1d5.from_config(tiny_config, attn_implementation="fast")


def test_flash_attention_names_its_package(tiny_config, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "flash_attn", None)
    with pytest.raises(ImportError, match="pip install flash-attn"):
        Gr00tN1d5.from_config(tiny_config, attn_implementation="flash_attention_2")
