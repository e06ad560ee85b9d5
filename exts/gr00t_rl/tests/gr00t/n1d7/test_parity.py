# SPDX-License-Identifier: BSD-3-Clause
"""The network against the released code's outputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gr00t_rl.gr00t import HeadContext
from gr00t_rl.gr00t.n1d7.config import Gr00tN1d7Config
from gr00t_rl.gr00t.n1d7.model import Gr00tN1d7


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def text_only(io: dict[str, Tensor], extra: dict[str, Tensor]) -> dict[str, Tensor]:
    """The recording without pictures, by the names of the one with them."""
    recorded = {key.removeprefix("text_only_"): value for key, value in extra.items() if key.startswith("text_only_")}
    return {key: io[key] for key in ("state", "embodiment_id", "noise")} | recorded


def context(model: Gr00tN1d7, inputs: dict[str, Tensor], vl: Tensor) -> HeadContext:
    _, prompt = model.read_inputs(inputs)
    mask = inputs["attention_mask"].bool()
    return model.action_head.prepare(
        vl, inputs["state"], inputs["embodiment_id"], mask=mask, kinds=model.token_kinds(prompt)
    )


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_features_match_reference(fixture_dir, io, implementation):
    model = Gr00tN1d7.from_pretrained(fixture_dir, torch.float32, attn_implementation=implementation)
    features = model.encode(*model.read_inputs(io))
    assert_same(features, io["backbone_features"])
    assert_same(model.action_head.process_features(features), io["vl"])


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_image_tokens_match_reference(fixture_dir, io, extra, implementation):
    """Those that enter the language model, and those added after its first layers, side by side."""
    model = Gr00tN1d7.from_pretrained(fixture_dir, torch.float32, attn_implementation=implementation)
    pixels, prompt = model.read_inputs(io)
    assert pixels is not None
    kept = model.backbone.vision(pixels, prompt.grids)
    tokens = model.backbone.project(kept)
    assert (kept.shape[-1], tokens.shape[-1]) == model.backbone.kept_widths
    names = [f"vision_deepstack_{i}" for i in range(len(model.config.vision.deepstack_visual_indexes))]
    expected = torch.cat([extra[name] for name in ("vision_tokens", *names)], dim=-1)
    assert_same(tokens.flatten(0, 1), expected)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("steps", [1, 4, 10])
def test_actions_match_reference(fixture_dir, io, steps, implementation):
    model = Gr00tN1d7.from_pretrained(fixture_dir, torch.float32, attn_implementation=implementation)
    actions = model.get_action(io, noise=io["noise"], num_inference_timesteps=steps)
    assert_same(actions, io[f"action_pred_steps{steps}"])


@pytest.mark.parametrize("bucket", [0, 730])
def test_velocity_matches_reference(model, io, bucket):
    ctx = context(model, io, io["vl"])
    found = model.action_head.velocity(io["noise"], torch.full((3,), bucket), ctx)
    assert_same(found, io[f"velocity_bucket{bucket}"])


def test_which_tokens_are_pictures(model, io):
    assert torch.equal(model.backbone.is_image(io["input_ids"]), io["image_mask"])


def test_prompts_without_pictures_match_reference(model, io, extra):
    inputs = text_only(io, extra)
    pixels, prompt = model.read_inputs(inputs)
    assert pixels is None and prompt.grids == ()
    features = model.encode(pixels, prompt)
    tokens = inputs["attention_mask"].bool()
    assert_same(features[tokens], inputs["backbone_features"][tokens])
    assert_same(model.action_head.process_features(features), inputs["vl"])
    velocity = model.action_head.velocity(inputs["noise"], torch.full((3,), 730), context(model, inputs, inputs["vl"]))
    assert_same(velocity, inputs["velocity_bucket730"])
    assert_same(model.get_action(inputs, inputs["noise"], 4), inputs["action_pred_steps4"])


def test_training_loss_and_gradients_match_reference(model, io, extra):
    """Of all that is trained in the head, from the features on."""
    head = model.action_head
    recorded = {key.removeprefix("loss_"): value for key, value in extra.items() if key.startswith("loss_")}
    features = io["backbone_features"].clone().requires_grad_()
    ctx = context(model, io, head.process_features(features))
    t = recorded["t"][:, None, None]
    noisy = (1 - t) * recorded["noise"] + t * recorded["action"]
    error = head.velocity(noisy, recorded["bucket"], ctx) - (recorded["action"] - recorded["noise"])
    mask = recorded["action_mask"]
    loss = (error.square() * mask).sum() / (mask.sum() + 1e-6)
    assert_same(loss.detach(), recorded["loss"])
    loss.backward()
    weights = dict(head.named_parameters())
    gradients = {key.removeprefix("grad."): value for key, value in recorded.items() if key.startswith("grad.")}
    assert len(gradients) == 8
    for name, expected in gradients.items():
        found = weights[name].grad
        assert found is not None and found.norm() > 0, name
        assert_same(found, expected)
    assert features.grad is not None
    assert_same(features.grad, recorded["grad_backbone_features"])


def test_bfloat16_is_close_and_gives_float32_velocity(fixture_dir, io):
    model = Gr00tN1d7.from_pretrained(fixture_dir)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert not model.training
    assert model.encode(*model.read_inputs(io)).dtype == torch.bfloat16
    actions = model.get_action(io, noise=io["noise"])
    assert actions.dtype == torch.float32
    torch.testing.assert_close(actions, io["action_pred_steps4"], rtol=0.1, atol=0.1)


def count(module: nn.Module) -> float:
    return round(sum(p.numel() for p in module.parameters()) / 1e6, 2)


def test_full_size_parameter_counts():
    with torch.device("meta"):
        model = Gr00tN1d7(Gr00tN1d7Config.full_size())
    visual, language = model.backbone.visual.model, model.backbone.language_model.model
    head = model.action_head
    found = {
        "vision": count(visual),
        "mergers": count(nn.ModuleList([visual.merger, visual.deepstack_merger_list])),
        "language_model": count(language),
        "embedding": count(language.embed_tokens),
        "DiT": count(head.model),
        "vl_self_attention": count(head.vl_self_attention),
        "action_encoder": count(head.action_encoder),
        "state_encoder": count(head.state_encoder),
        "action_decoder": count(head.action_decoder),
        "total": count(model),
    }
    assert found == {
        "vision": 406.96,
        "mergers": 100.71,
        "language_model": 1116.54,
        "embedding": 311.16,
        "DiT": 1091.72,
        "vl_self_attention": 201.43,
        "action_encoder": 233.13,
        "state_encoder": 54.74,
        "action_decoder": 37.92,
        "total": 3144.02,
    }


def test_full_size_stored_tensors():
    with torch.device("meta"):
        model = Gr00tN1d7(Gr00tN1d7Config.full_size())
    stored = model.export_tensors()
    assert round(sum(t.numel() for t in stored.values()) / 1e6, 2) == 3144.02  # no lm_head
    shapes = {key: tuple(tensor.shape) for key, tensor in stored.items()}
    visual, language = "backbone.model.model.visual.", "backbone.model.model.language_model."
    assert shapes[visual + "patch_embed.proj.weight"] == (1024, 3, 2, 16, 16)
    assert shapes[visual + "deepstack_merger_list.2.linear_fc2.weight"] == (2048, 4096)
    assert shapes[language + "embed_tokens.weight"] == (151936, 2048)
    assert shapes[language + "layers.15.self_attn.k_proj.weight"] == (1024, 2048)
    assert language + "layers.16.self_attn.k_proj.weight" not in shapes
    assert shapes[language + "norm.weight"] == (2048,)
    assert shapes["action_head.action_encoder.W1.W"] == (32, 132, 1536)
    assert shapes["action_head.model.transformer_blocks.30.attn1.to_k.weight"] == (1536, 2048)
    assert shapes["action_head.model.transformer_blocks.31.attn1.to_k.weight"] == (1536, 1536)
    assert "action_head.future_tokens.weight" not in shapes
