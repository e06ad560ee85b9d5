# SPDX-License-Identifier: BSD-3-Clause
"""Write what the released GR00T N1.7 processor makes of raw pictures, texts, states and actions.

    python source/standalone/tools/golden_n1d7_processor.py RELEASED exts/gr00t_rl/tests/fixtures/gr00t_n1d7_processor

RELEASED is a folder with the package ``gr00t`` of NVIDIA's Isaac-GR00T: ``model/gr00t_n1d7/processing_gr00t_n1d7.py``
and ``image_augmentations.py``, ``data/`` and ``configs/data/embodiment_configs.py`` are read. There are revisions of
the picture transforms; the fixture has the one that obeys ``letter_box_transform`` and that resizes to
``image_target_size`` without keeping the aspect ratio where ``shortest_image_edge`` is null.

It needs an environment of its own: Python 3.12, torch 2.11.0 and torchvision 0.26.0 (CPU), transformers 5.6.2,
albumentations 1.4.18, opencv-python-headless 5.0.0.93 (4.11.0.86 gives the same), scipy 1.18.1, numpy 2.5.5. Nothing
comes from a hub: the tokenizer is a small byte-level BPE trained here, with Qwen's special tokens, and the image
processor has Qwen3-VL's values.

``backbone/`` holds the tokenizer and the image processor. Every other folder is a case, in evaluation mode, of two
samples: the files of the processor's own ``save_pretrained``; ``case.json`` with the instructions, the rendered
prompts and the bounds of the image processor; and ``reference.npz``:

- ``raw_image.{sample}.{camera}`` [frames, height, width, 3] uint8; ``raw_state.{key}`` [2, frames, dim] and
  ``raw_action.{key}`` [2, horizon, dim] float32
- ``image.{sample}`` [frames · cameras, 3, height, width] uint8, as the image processor gets them
- ``input_ids``, ``attention_mask``, ``mm_token_type_ids``, ``pixel_values``, ``image_grid_thw``, ``state``,
  ``action``, ``action_mask`` and ``embodiment_id``, the collated batch
- ``normalized`` [2, max horizon, max dim] float32, drawn, partly outside of [-1, 1], and ``decoded.{key}``
  [2, horizon, dim], what ``decode_action`` makes of it with the raw states
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

HORIZON = 5
MAX_HORIZON = 8
MAX_DIM = 24
TRAJECTORIES = 64
"""Drawn for the statistics; the two samples are the first two of them, stretched to leave the range."""
IMAGE_SIZE = {"shortest_edge": 1024, "longest_edge": 16777216}
RELEASED_IMAGE_SIZE = {"shortest_edge": 65536, "longest_edge": 16777216}
INSTRUCTIONS = ["Pick up the red cube, then place it on the Plate!", "Don't touch 2 bowls (blue_one): open the drawer."]
SPECIAL_TOKENS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
]  # fmt: skip
# One user turn as Qwen3-VL's template renders it: no system turn, nothing between pictures and text.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}{{ '<|im_start|>' + message.role + '\n' }}"
    "{%- for part in message.content -%}"
    "{%- if part.type == 'image' -%}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- else -%}{{ part.text }}{%- endif -%}"
    "{%- endfor -%}{{ '<|im_end|>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
ABSOLUTE = {"rep": "ABSOLUTE", "type": "NON_EEF", "format": "DEFAULT", "state_key": None}


@dataclass(frozen=True)
class Case:
    """One processor and the pictures it gets."""

    options: dict[str, Any]
    """Arguments of the released processor."""
    cameras: dict[str, tuple[int, int]]
    """Height and width of each camera's pictures."""
    frames: int = 1
    relative: bool = False
    """A robot with relative actions instead of the plain one."""
    per_step: bool = False
    """Statistics of relative actions for each step of the horizon."""
    state: dict[str, Any] = field(default_factory=dict)
    action: dict[str, Any] = field(default_factory=dict)
    """More entries of the modality config, such as ``mean_std_embedding_keys``."""
    image_size: dict[str, int] = field(default_factory=lambda: dict(IMAGE_SIZE))


SMALL = {"image_target_size": [64, 64], "image_crop_size": [60, 60]}
NO_EDGE = {"shortest_image_edge": None, "crop_fraction": None}
EDGE = {"shortest_image_edge": 64, "crop_fraction": 0.95, "use_albumentations": True}
WIDE_AND_TALL = {"front": (60, 80), "wrist": (96, 64)}
CASES = {
    "edge": Case({**SMALL, **EDGE}, {"front": (60, 80), "wrist": (120, 160)}, frames=2),
    "target": Case({**SMALL, **NO_EDGE, "use_albumentations": True, "use_percentiles": True}, WIDE_AND_TALL),
    "torchvision": Case(
        {**SMALL, **NO_EDGE, "use_percentiles": True, "clip_outliers": False, "formalize_language": False},
        WIDE_AND_TALL,
    ),
    "torchvision_wide": Case(
        {**NO_EDGE, "image_target_size": [64, 96], "image_crop_size": [57, 90]},
        {"front": (60, 80), "wrist": (75, 50)},
        state={"mean_std_embedding_keys": ["arm"]},
        action={"mean_std_embedding_keys": ["arm"]},
    ),
    "letter_box": Case(
        {**SMALL, **EDGE, "letter_box_transform": True, "apply_sincos_state_encoding": True},
        WIDE_AND_TALL,
        state={"sin_cos_embedding_keys": ["arm"]},
    ),
    "letter_box_torchvision": Case(
        {**SMALL, **NO_EDGE, "letter_box_transform": True, "use_relative_action": True},
        WIDE_AND_TALL,
        frames=2,
        relative=True,
        per_step=True,
    ),
    "released": Case(
        {
            **NO_EDGE,
            "image_target_size": [256, 256],
            "image_crop_size": [230, 230],
            "use_albumentations": True,
            "use_percentiles": True,
            "use_relative_action": True,
        },
        {"front": (480, 640)},
        relative=True,
        image_size=RELEASED_IMAGE_SIZE,
    ),
    "square": Case({**SMALL, **EDGE, "use_percentiles": True}, {"front": (128, 128), "wrist": (90, 90)}),
}


def make_backbone_processor(size: dict[str, int]) -> Any:
    """Return a Qwen3-VL processor with a small tokenizer and ``size`` as the bounds of a picture's area in pixels."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer, Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()  # type: ignore[assignment]
    split = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated")
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_of])  # type: ignore[assignment]
    bpe.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator([*INSTRUCTIONS, *(text.lower() for text in INSTRUCTIONS), "user assistant system"], trainer)
    model = json.loads(bpe.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(pair) for pair in model["merges"]],  # type: ignore[arg-type]
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=SPECIAL_TOKENS[1:],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    shared = dict(
        patch_size=16, temporal_patch_size=2, merge_size=2, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5]
    )
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=dict(size), **shared),  # type: ignore[arg-type]
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(),
        chat_template=CHAT_TEMPLATE,
    )


def draw_picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A picture of flat tiles, which compresses well and shows how edges are resampled; [height, width, 3] uint8."""
    rows, columns = int(rng.integers(5, 9)), int(rng.integers(5, 9))
    tiles = rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    return tiles[np.arange(height) * rows // height][:, np.arange(width) * columns // width]


def rot6d(rotations: np.ndarray) -> np.ndarray:
    """The first two rows of the rotation matrix of each rotation vector [..., 3], as [..., 6]."""
    from scipy.spatial.transform import Rotation

    matrices = Rotation.from_rotvec(rotations.reshape(-1, 3)).as_matrix()
    return matrices[:, :2].reshape(*rotations.shape[:-1], 6)


def draw_robot(rng: np.random.Generator, case: Case) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draw states {key: [trajectories, frames, dim]} and actions {key: [trajectories, horizon, dim]}, float32."""

    def walk(first: np.ndarray, steps: int, size: float) -> np.ndarray:
        moves = rng.normal(0, size, (TRAJECTORIES, steps, first.shape[-1]))
        return first[:, None] + np.cumsum(moves, axis=1)

    count = case.frames
    arm = walk(rng.normal(0, 0.6, (TRAJECTORIES, 4)), count, 0.05)
    arm[..., 3] = 0.5  # a joint that never moves
    states = {"arm": arm}
    actions = {"arm": walk(arm[:, -1], HORIZON, 0.2)}
    gripper = rng.uniform(0, 0.04, (TRAJECTORIES, count, 1))
    if not case.relative:
        states["gripper"] = np.concatenate([gripper, -gripper], axis=-1)
        actions["gripper"] = rng.integers(0, 2, (TRAJECTORIES, HORIZON, 1)).astype(float)
    else:
        place = walk(rng.normal(0, 0.4, (TRAJECTORIES, 3)), count, 0.05)
        turn = walk(rng.normal(0, 1.0, (TRAJECTORIES, 3)), count, 0.05)
        places, turns = walk(place[:, -1], HORIZON, 0.1), walk(turn[:, -1], HORIZON, 0.3)
        # Not quite orthonormal, as sensors and networks give it.
        states["pose"] = np.concatenate([place, rot6d(turn) + rng.normal(0, 0.02, (*turn.shape[:-1], 6))], axis=-1)
        states["pose_vector"] = np.concatenate([place, turn], axis=-1)
        states["gripper"] = gripper
        noisy = rot6d(turns) + rng.normal(0, 0.02, (*turns.shape[:-1], 6))
        eef = {"eef": np.concatenate([places, noisy], axis=-1), "eef_vector": np.concatenate([places, turns], axis=-1)}
        actions = {**eef, **actions, "gripper": rng.integers(0, 2, (TRAJECTORIES, HORIZON, 1)).astype(float)}
    single = np.float32
    return {k: v.astype(single) for k, v in states.items()}, {k: v.astype(single) for k, v in actions.items()}


def modality_config(case: Case, states: dict[str, np.ndarray], actions: dict[str, np.ndarray]) -> dict[str, Any]:
    """The embodiment's modality config as plain dictionaries."""
    past = list(range(1 - case.frames, 1))
    action: dict[str, Any] = {"delta_indices": list(range(HORIZON)), "modality_keys": list(actions), **case.action}
    if case.relative:
        eef = {"rep": "RELATIVE", "type": "EEF"}
        action["action_configs"] = [
            {**eef, "format": "XYZ_ROT6D", "state_key": "pose"},
            {**eef, "format": "XYZ_ROTVEC", "state_key": "pose_vector"},
            {"rep": "RELATIVE", "type": "NON_EEF", "format": "DEFAULT", "state_key": None},
            ABSOLUTE,
        ]
    return {
        "video": {"delta_indices": past, "modality_keys": list(case.cameras)},
        "state": {"delta_indices": past, "modality_keys": list(states), **case.state},
        "action": action,
        "language": {"delta_indices": [0], "modality_keys": ["annotation.human.task_description"]},
    }


def statistics_of(values: np.ndarray, axis: int | tuple[int, ...]) -> dict[str, list[Any]]:
    """The statistics that the released processor reads, rounded so that the file is short."""
    values = values.astype(np.float64)
    found = {
        "min": values.min(axis),
        "max": values.max(axis),
        "mean": values.mean(axis),
        "std": values.std(axis),
        "q01": np.quantile(values, 0.01, axis),
        "q99": np.quantile(values, 0.99, axis),
    }
    return {name: np.round(value, 5).tolist() for name, value in found.items()}


def make_statistics(
    released: Any, config: dict[str, Any], case: Case, states: dict[str, np.ndarray], actions: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Statistics of the drawn trajectories, those of relative actions by the released conversion."""
    result: dict[str, Any] = {
        "state": {key: statistics_of(value, (0, 1)) for key, value in states.items()},
        "action": {key: statistics_of(value, (0, 1)) for key, value in actions.items()},
    }
    if not case.relative:
        return result
    tag = released.EmbodimentTag.NEW_EMBODIMENT.value
    converter = released.StateActionProcessor(modality_configs={tag: config}, use_relative_action=True)
    configs = converter.modality_configs[tag]["action"].action_configs
    result["relative_action"] = {}
    for key, action in zip(actions, configs, strict=True):
        if action.rep.name != "RELATIVE":
            continue
        reference = states[action.state_key or key][:, -1]
        pairs = zip(actions[key], reference, strict=True)
        relative = [converter._convert_to_relative_action(a, s, action.type, action.format) for a, s in pairs]
        result["relative_action"][key] = statistics_of(np.stack(relative), 0 if case.per_step else (0, 1))
    return result


def record(released: Any, case: Case, seed: int, out: Path) -> None:
    """Write one case."""
    rng = np.random.default_rng(seed)
    released.build_processor = lambda name, options: make_backbone_processor(case.image_size)
    states, actions = draw_robot(rng, case)
    config = modality_config(case, states, actions)
    tag = released.EmbodimentTag.NEW_EMBODIMENT
    processor = released.Gr00tN1d7Processor(
        modality_configs={tag.value: config},
        statistics={tag.value: make_statistics(released, config, case, states, actions)},
        max_state_dim=MAX_DIM,
        max_action_dim=MAX_DIM,
        max_action_horizon=MAX_HORIZON,
        # The released default has the same entries in an order that changes from run to run.
        embodiment_id_mapping=dict(sorted(released.EMBODIMENT_TAG_TO_PROJECTOR_INDEX.items())),
        **case.options,
    )
    processor.eval()
    processor.save_pretrained(out)
    # Stretched, so that some values leave the statistics' range; poses are not, to stay poses.
    stretch = {key: 1.0 if key.startswith(("pose", "eef")) else 1.5 for key in {*states, *actions}}
    states = {key: value[:2] * np.float32(stretch[key]) for key, value in states.items()}
    actions = {key: value[:2] * np.float32(stretch[key]) for key, value in actions.items()}
    arrays: dict[str, np.ndarray] = {f"raw_state.{key}": value for key, value in states.items()}
    arrays |= {f"raw_action.{key}": value for key, value in actions.items()}
    samples, prompts = [], []
    for i, text in enumerate(INSTRUCTIONS):
        pictures = {
            camera: [draw_picture(rng, *size) for _ in range(case.frames)] for camera, size in case.cameras.items()
        }
        step = released.VLAStepData(
            images=pictures,
            states={key: value[i] for key, value in states.items()},
            actions={key: value[i] for key, value in actions.items()},
            text=text,
            embodiment=tag,
        )
        sample = processor([{"type": "episode_step", "content": step}])
        samples.append(sample)
        prompts.append(sample["vlm_content"]["text"])
        arrays |= {f"raw_image.{i}.{camera}": np.stack(frames) for camera, frames in pictures.items()}
        given = [np.asarray(image).transpose(2, 0, 1) for image in sample["vlm_content"]["images"]]
        arrays[f"image.{i}"] = np.stack(given)
    batch = processor.collator(samples)["inputs"]
    arrays |= {key: np.asarray(value) for key, value in sorted(batch.items())}
    arrays["normalized"] = rng.uniform(-1.2, 1.2, (2, MAX_HORIZON, MAX_DIM)).astype(np.float32)
    decoded = processor.decode_action(arrays["normalized"], tag, state=states)
    arrays |= {f"decoded.{key}": np.asarray(value) for key, value in decoded.items()}
    np.savez_compressed(out / "reference.npz", **arrays)  # type: ignore[arg-type]
    about = {"instructions": INSTRUCTIONS, "prompts": prompts, "image_processor_size": case.image_size}
    (out / "case.json").write_text(json.dumps(about, indent=1) + "\n")
    for key, value in arrays.items():
        print(out.name, key, value.shape, value.dtype)


def import_released(folder: Path) -> Any:
    """Import the released module from ``folder``; it has every class that is used here among its names."""
    if not (folder / "gr00t").is_dir():
        sys.exit(f"golden_n1d7_processor: no package gr00t in {folder}; give a checkout of Isaac-GR00T")
    sys.path.insert(0, str(folder))
    module = importlib.import_module("gr00t.model.gr00t_n1d7.processing_gr00t_n1d7")
    module.VLAStepData = importlib.import_module("gr00t.data.types").VLAStepData  # type: ignore[attr-defined]
    return module


def main() -> None:
    """Write every case, and the backbone's tokenizer and image processor."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("released", type=Path, help="folder with the released package gr00t")
    parser.add_argument("out", type=Path, help="folder to write")
    args = parser.parse_args()
    released = import_released(args.released)
    backbone = make_backbone_processor(IMAGE_SIZE)
    backbone.tokenizer.save_pretrained(args.out / "backbone")
    backbone.image_processor.save_pretrained(args.out / "backbone")
    for seed, (name, case) in enumerate(CASES.items()):
        record(released, case, seed, args.out / name)


if __name__ == "__main__":
    main()
