# SPDX-License-Identifier: BSD-3-Clause
"""Write a tiny random GR00T N1.7 checkpoint and what LeRobot's released classes compute with it.

    python source/standalone/tools/golden_n1d7.py exts/gr00t_rl/tests/fixtures/gr00t_n1d7_tiny a
    python source/standalone/tools/golden_n1d7.py exts/gr00t_rl/tests/fixtures/gr00t_n1d7_tiny_b b

It needs an environment of its own, with none of this project in it: Python 3.12, torch 2.11.0 (CPU),
transformers 5.6.2, diffusers 0.42.1, safetensors 0.8.0, draccus, dm-tree and ``lerobot==0.6.1`` without its
dependencies (``pip install --no-deps``). Nothing comes from a hub. ``OMP_NUM_THREADS=1`` makes the sums' order, and
so the last bits, the same on every machine of a kind.

In the folder: ``config.json`` and the shards, in the official key names; ``qwen3_vl_config.json``, the backbone's
sizes, which official folders lack; ``reference_io.safetensors``, inputs, backbone, velocities and actions;
``reference_extra.safetensors``, float32 unless noted, with B samples, L tokens, N image tokens of the whole batch:

- ``vision_tokens`` [N, width of the backbone], what stands at the image tokens before the first layer, and
  ``vision_deepstack_{i}``, the same shape, what is added to them after layer ``i``
- ``text_only_*``: the same state and noise with a text and no image: ``input_ids``, ``attention_mask`` (int64),
  ``image_mask`` (bool, all False), ``backbone_features``, ``vl``, ``velocity_bucket730``, ``action_pred_steps4``
- ``loss_*``: the action head's training loss without dropout: ``action``, ``action_mask`` and ``noise``
  [B, horizon, max action dim], ``t`` [B], ``bucket`` [B] (int64), ``loss`` [] and ``grad.KEY``, its gradient with
  respect to the action head's weight KEY, and ``grad_backbone_features`` [B, L, width]
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.util
import json
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Sizes:
    """The sizes of one fixture. ``lm`` is the language model, ``vision`` the image encoder, ``vl`` the attention
    over the backbone's output, ``dit`` the flow's transformer."""

    seed: int
    lm_width: int
    lm_mlp: int
    lm_layers: int
    """Layers that are kept, the checkpoint's ``select_layer``."""
    lm_layers_of_config: int
    lm_heads: int
    lm_kv_heads: int
    lm_head_dim: int
    mrope_section: list[int]
    """Frequencies of time, height and width; their sum is half of ``lm_head_dim``."""
    vocab: int
    vision_width: int
    vision_mlp: int
    vision_layers: int
    vision_heads: int
    deepstack: list[int]
    patch: int
    positions: int
    """Learned positions of the image encoder: a square number."""
    grids: list[tuple[int, int, int]]
    """Frames, rows and columns of patches of each image of a sample."""
    dit_layers: int
    dit_heads: int
    dit_head_dim: int
    text_every: int
    vl_layers: int
    vl_heads: int
    vl_head_dim: int
    hidden: int
    embodiments: int
    action_dim: int
    state_dim: int
    history: int
    horizon: int
    text: int
    """Text tokens after the images, of the sample with the most padding."""
    padding: int


SIZES = {
    "a": Sizes(
        seed=23, lm_width=64, lm_mlp=96, lm_layers=3, lm_layers_of_config=4, lm_heads=4, lm_kv_heads=2, lm_head_dim=16,
        mrope_section=[4, 2, 2], vocab=600, vision_width=32, vision_mlp=64, vision_layers=3, vision_heads=4,
        deepstack=[0, 1], patch=4, positions=64, grids=[(1, 4, 4), (1, 4, 6)], dit_layers=4, dit_heads=4,
        dit_head_dim=12, text_every=2, vl_layers=1, vl_heads=4, vl_head_dim=16, hidden=32, embodiments=4,
        action_dim=24, state_dim=30, history=1, horizon=10, text=9, padding=3,
    ),
    "b": Sizes(
        seed=41, lm_width=48, lm_mlp=80, lm_layers=4, lm_layers_of_config=5, lm_heads=3, lm_kv_heads=1, lm_head_dim=20,
        mrope_section=[4, 3, 3], vocab=500, vision_width=24, vision_mlp=56, vision_layers=5, vision_heads=2,
        deepstack=[0, 2, 3], patch=3, positions=36, grids=[(1, 4, 4), (1, 2, 6), (1, 8, 4)], dit_layers=6, dit_heads=2,
        dit_head_dim=20, text_every=3, vl_layers=2, vl_heads=3, vl_head_dim=16, hidden=28, embodiments=5,
        action_dim=17, state_dim=23, history=2, horizon=7, text=11, padding=4,
    ),
}  # fmt: skip


def import_released() -> Any:
    """Import LeRobot's network without its package's own imports, which need all of its dependencies."""
    spec = importlib.util.find_spec("lerobot")
    if spec is None or spec.origin is None:
        sys.exit("golden_n1d7: no package lerobot found; run `pip install --no-deps lerobot==0.6.1`")
    root = Path(spec.origin).parent
    for name in ("lerobot", "lerobot.policies", "lerobot.policies.groot", "lerobot.utils", "lerobot.configs"):
        module = types.ModuleType(name)
        module.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = module
    configuration: Any = types.ModuleType("lerobot.policies.groot.configuration_groot")
    configuration.N1_7_DEFAULT_IMAGE_CROP_SIZE = (230, 230)  # all that the network's file takes from it
    configuration.N1_7_DEFAULT_IMAGE_TARGET_SIZE = (256, 256)
    sys.modules[configuration.__name__] = configuration
    return importlib.import_module("lerobot.policies.groot.groot_n1_7")


def backbone_config(s: Sizes) -> dict[str, Any]:
    """The backbone's sizes as Qwen3-VL's configuration names them."""
    text = dict(
        attention_bias=False, attention_dropout=0.0, head_dim=s.lm_head_dim, hidden_act="silu",
        hidden_size=s.lm_width, intermediate_size=s.lm_mlp, max_position_embeddings=4096, model_type="qwen3_vl_text",
        num_attention_heads=s.lm_heads, num_hidden_layers=s.lm_layers_of_config, num_key_value_heads=s.lm_kv_heads,
        rms_norm_eps=1e-6,
        rope_scaling=dict(mrope_interleaved=True, mrope_section=s.mrope_section, rope_type="default"),
        rope_theta=5000000, tie_word_embeddings=True, use_cache=False, vocab_size=s.vocab,
    )  # fmt: skip
    vision = dict(
        deepstack_visual_indexes=s.deepstack, depth=s.vision_layers, hidden_act="gelu_pytorch_tanh",
        hidden_size=s.vision_width, in_channels=3, intermediate_size=s.vision_mlp, model_type="qwen3_vl",
        num_heads=s.vision_heads, num_position_embeddings=s.positions, out_hidden_size=s.lm_width,
        patch_size=s.patch, spatial_merge_size=2, temporal_patch_size=2,
    )  # fmt: skip
    return dict(
        image_token_id=s.vocab - 4, video_token_id=s.vocab - 3, vision_start_token_id=s.vocab - 6,
        vision_end_token_id=s.vocab - 5, tie_word_embeddings=True, text_config=text, vision_config=vision,
    )  # fmt: skip


def policy_config(s: Sizes) -> dict[str, Any]:
    """The entries of ``config.json`` that differ from the released defaults."""
    dit = dict(
        positional_embeddings=None, num_layers=s.dit_layers, num_attention_heads=s.dit_heads,
        attention_head_dim=s.dit_head_dim, norm_type="ada_norm", dropout=0.2, final_dropout=True,
        output_dim=s.hidden, interleave_self_attention=True,
    )  # fmt: skip
    vl = dict(
        positional_embeddings=None, num_layers=s.vl_layers, num_attention_heads=s.vl_heads,
        attention_head_dim=s.vl_head_dim, dropout=0.2, final_dropout=True,
    )  # fmt: skip
    return dict(
        model_name="nvidia/Cosmos-Reason2-2B", backbone_embedding_dim=s.lm_width, select_layer=s.lm_layers,
        max_state_dim=s.state_dim, max_action_dim=s.action_dim, action_horizon=s.horizon, hidden_size=s.hidden,
        input_embedding_dim=s.dit_heads * s.dit_head_dim, state_history_length=s.history, max_seq_len=64,
        max_num_embodiments=s.embodiments, model_dtype="float32", dtype="float32", load_bf16=False,
        attend_text_every_n_blocks=s.text_every, diffusion_model_cfg=dit, vl_self_attention_cfg=vl,
    )  # fmt: skip


def build(released: Any, s: Sizes) -> Any:
    """Return the released network with random weights that bfloat16 can hold, in float32."""
    from transformers import Qwen3VLConfig

    def tiny_backbone() -> Any:
        config = Qwen3VLConfig(**copy.deepcopy(backbone_config(s)))
        config._attn_implementation = "sdpa"
        return config

    released._cosmos_reason2_qwen3_vl_config = tiny_backbone
    policy = released.GR00TN17(released.GR00TN17Config(**policy_config(s)), load_backbone_weights=False)
    policy = policy.float().eval()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
            parameter.copy_(parameter.bfloat16().float())
    return policy


def write_checkpoint(released: Any, policy: Any, s: Sizes, out: Path) -> None:
    """Write two bfloat16 shards with their index, and both configurations."""
    # The output head is tied to the embedding, and LeRobot's own save leaves it out too.
    state = {
        key: value.bfloat16().contiguous().clone()
        for key, value in policy.state_dict().items()
        if not key.endswith("lm_head.weight")
    }
    keys = sorted(state)
    half = len(keys) // 2
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    save_file({key: state[key] for key in keys[:half]}, out / files[0], metadata={"format": "pt"})
    save_file({key: state[key] for key in keys[half:]}, out / files[1], metadata={"format": "pt"})
    index = dict(
        metadata=dict(total_size=sum(value.numel() * 2 for value in state.values())),
        weight_map={key: files[i >= half] for i, key in enumerate(keys)},
    )
    (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
    architecture = {"architectures": ["Gr00tN1d7"], "model_type": "Gr00tN1d7"}
    config = {**released.GR00T_N1_7_DEFAULTS, **policy_config(s), **architecture}
    (out / "config.json").write_text(json.dumps(config, indent=1))
    (out / "qwen3_vl_config.json").write_text(json.dumps(backbone_config(s), indent=1))


def draw_text(s: Sizes, length: int) -> list[int]:
    """Random ids below the special tokens."""
    return torch.randint(0, s.vocab - 10, (length,)).tolist()


def draw_inputs(s: Sizes) -> Tensors:
    """Draw a batch of three samples of unequal padding, which is on the left, and of unequal embodiments."""
    ids = backbone_config(s)
    rows = []
    for _ in range(3):
        row = draw_text(s, 2)
        for frames, height, width in s.grids:
            image = [ids["image_token_id"]] * (frames * height * width // 4)
            row += [ids["vision_start_token_id"], *image, ids["vision_end_token_id"]]
        rows.append(row + draw_text(s, s.text))
    padded, mask = [], []
    for row, padding in zip(rows, [s.padding, 0, 1], strict=True):
        row = row + draw_text(s, s.padding - padding)
        padded.append([0] * padding + row)
        mask.append([0] * padding + [1] * len(row))
    patches = 3 * sum(frames * height * width for frames, height, width in s.grids)
    return dict(
        input_ids=torch.tensor(padded),
        attention_mask=torch.tensor(mask),
        pixel_values=torch.randn(patches, 3 * 2 * s.patch**2),
        image_grid_thw=torch.tensor(s.grids * 3),
        state=torch.randn(3, s.history, s.state_dim),
        embodiment_id=torch.tensor([s.embodiments - 1, 0, 1]),
    )


def feature(data: dict[str, Any]) -> Any:
    """The released classes' container, with copies, because they write into it."""
    from transformers.feature_extraction_utils import BatchFeature

    return BatchFeature(data={k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in data.items()})


def actions(policy: Any, backbone: Any, batch: Tensors, steps: int) -> Tensors:
    """The actions after ``steps`` steps from the noise of seed 5, and that noise."""
    head = policy.action_head
    head.num_inference_timesteps = steps
    torch.manual_seed(5)
    noise = torch.randn(3, head.action_horizon, head.action_dim)
    torch.manual_seed(5)
    prediction = head.get_action(feature(backbone), feature(batch))["action_pred"].float()
    return {"noise": noise, f"action_pred_steps{steps}": prediction}


def velocity(policy: Any, context: Any, batch: Tensors, noise: torch.Tensor, bucket: int) -> torch.Tensor:
    """The velocity [B, horizon, max action dim] at the noise and one time bucket; ``context`` holds ``vl``."""
    head, embodiment = policy.action_head, batch["embodiment_id"]
    time = torch.full((3,), bucket)
    state = head.state_encoder(batch["state"].view(3, 1, -1), embodiment)
    action = head.action_encoder(noise, time, embodiment)
    action = action + head.position_embedding(torch.arange(head.action_horizon))[None]
    hidden = head.model(
        hidden_states=torch.cat((state, action), 1),
        encoder_hidden_states=context["backbone_features"],
        timestep=time,
        image_mask=context["image_mask"],
        backbone_attention_mask=context["backbone_attention_mask"],
    )
    return head.action_decoder(hidden, embodiment)[:, -head.action_horizon :]


@torch.no_grad()
def record_inference(policy: Any, batch: Tensors) -> tuple[Tensors, Any]:
    """Return the content of ``reference_io.safetensors`` and the backbone's output."""
    record = {key: value.clone() for key, value in batch.items()}
    backbone = policy.backbone(feature(batch))
    record["backbone_features"] = backbone["backbone_features"].clone()
    record["image_mask"] = backbone["image_mask"].clone()
    for steps in (1, 4, 10):
        record |= actions(policy, backbone, batch, steps)
    context = policy.action_head.process_backbone_output(feature(backbone))
    record["vl"] = context["backbone_features"].clone()
    for bucket in (0, 730):
        record[f"velocity_bucket{bucket}"] = velocity(policy, context, batch, record["noise"], bucket)
    return record, backbone


@torch.no_grad()
def record_vision(policy: Any, batch: Tensors) -> Tensors:
    """What the image encoder gives the language model, before its first layer and after the next ones."""
    output = policy.backbone.visual(batch["pixel_values"], grid_thw=batch["image_grid_thw"])
    record = {"vision_tokens": output.pooler_output}
    return record | {f"vision_deepstack_{i}": value for i, value in enumerate(output.deepstack_features)}


@torch.no_grad()
def record_text_only(policy: Any, batch: Tensors, s: Sizes) -> Tensors:
    """The network without an image.

    The released backbone's ``forward`` insists on pictures, so what it calls after them is called here, which
    counts positions from the first column, padding included; and the mask of image tokens is all False.
    """
    torch.manual_seed(s.seed + 1)
    lengths = [s.text, s.text + s.padding, s.text + s.padding - 1]
    widest = max(lengths)
    ids = torch.tensor([[0] * (widest - n) + draw_text(s, n) for n in lengths])
    mask = torch.tensor([[0] * (widest - n) + [1] * n for n in lengths])
    text = dict(input_ids=ids, attention_mask=mask)
    backbone = dict(
        backbone_features=policy.backbone._last_decoder_layer_output(dict(text)),
        backbone_attention_mask=mask == 1,
        image_mask=torch.zeros_like(mask, dtype=torch.bool),
    )
    record = {**text, "image_mask": backbone["image_mask"], "backbone_features": backbone["backbone_features"]}
    context = policy.action_head.process_backbone_output(feature(backbone))
    record["vl"] = context["backbone_features"]
    drawn = actions(policy, backbone, batch, 4)
    record["velocity_bucket730"] = velocity(policy, context, batch, drawn["noise"], 730)
    record["action_pred_steps4"] = drawn["action_pred_steps4"]
    return {f"text_only_{key}": value.clone() for key, value in record.items()}


def record_loss(policy: Any, batch: Tensors, backbone: Any, s: Sizes) -> Tensors:
    """The released training loss and gradients, with what it draws drawn once more in the same order."""
    head = policy.action_head
    torch.manual_seed(s.seed + 2)
    mask = torch.ones(3, s.horizon, s.action_dim)
    mask[0, :, s.action_dim - 5 :] = 0
    mask[1, s.horizon - 3 :] = 0
    mask[2, :, s.action_dim - 2 :] = 0
    mask[2, s.horizon - 1 :] = 0
    action = (torch.rand(3, s.horizon, s.action_dim) * 2 - 1) * mask
    torch.manual_seed(s.seed + 3)
    noise = torch.randn(action.shape)
    t = head.sample_time(3, device=action.device, dtype=action.dtype)
    torch.manual_seed(s.seed + 3)
    given = feature(backbone)
    features = given["backbone_features"] = given["backbone_features"].detach().requires_grad_()
    head.zero_grad()
    loss = head(given, feature({**batch, "action": action, "action_mask": mask}))["loss"]
    loss.backward()
    weights = dict(head.named_parameters())
    keys = [
        "action_decoder.layer2.W",
        "model.proj_out_2.weight",
        "state_encoder.layer1.W",
        "action_encoder.W1.W",
        "vlln.weight",
        "vl_self_attention.transformer_blocks.0.attn1.to_q.weight",
        "model.transformer_blocks.0.attn1.to_k.weight",  # text
        "model.transformer_blocks.2.attn1.to_k.weight",  # images
    ]
    record = dict(action=action, action_mask=mask, noise=noise, t=t, bucket=(t * 1000).long(), loss=loss.detach())
    record["grad_backbone_features"] = features.grad
    record |= {f"grad.{key}": weights[key].grad for key in keys}
    return {f"loss_{key}": value.clone() for key, value in record.items()}


def main() -> None:
    """Write one fixture and print what is in it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("sizes", choices=sorted(SIZES), help="which set of sizes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    s = SIZES[args.sizes]
    args.out.mkdir(parents=True, exist_ok=True)
    released = import_released()
    torch.manual_seed(s.seed)
    policy = build(released, s)
    write_checkpoint(released, policy, s, args.out)
    batch = draw_inputs(s)
    record, backbone = record_inference(policy, batch)
    extra = record_vision(policy, batch) | record_text_only(policy, batch, s) | record_loss(policy, batch, backbone, s)
    for name, tensors in (("reference_io", record), ("reference_extra", extra)):
        save_file({key: value.contiguous() for key, value in tensors.items()}, args.out / f"{name}.safetensors")
        for key, value in tensors.items():
            print(name, key, tuple(value.shape), str(value.dtype).removeprefix("torch."))
    size = sum(file.stat().st_size for file in args.out.iterdir())
    print(f"{sum(p.numel() for p in policy.parameters()) / 1e6:.3f} M parameters, {size / 1e6:.3f} MB")


if __name__ == "__main__":
    main()
