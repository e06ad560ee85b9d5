# SPDX-License-Identifier: BSD-3-Clause
"""N1.7's processor against what the released one made of the same pictures, texts, states and actions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gr00t_rl.gr00t.modality import ActionKey, Modality, StateKey
from gr00t_rl.gr00t.n1d7.config import Gr00tN1d7Config
from gr00t_rl.gr00t.n1d7.processor import Gr00tN1d7Processor
from gr00t_rl.gr00t.tokenizer import load_tokenizer

FIXTURE = Path(__file__).parents[1] / "fixtures" / "gr00t_n1d7_processor"
CASES = sorted(folder.name for folder in FIXTURE.iterdir() if (folder / "case.json").is_file())
TAG = "new_embodiment"


class Case:
    """A recorded case, and the processor that should do the same."""

    def __init__(self, name: str):
        folder = FIXTURE / name
        self.about = json.loads((folder / "case.json").read_text())
        files = [f for f in folder.iterdir() if f.suffix == ".json" and f.name != "case.json"]
        self.assets = {f.name: f.read_bytes() for f in files}
        self.assets["preprocessor_config.json"] = json.dumps({"size": self.about["image_processor_size"]}).encode()
        self.kwargs = json.loads(self.assets["processor_config.json"])["processor_kwargs"]
        self.keys: dict[str, Any] = self.kwargs["modality_configs"][TAG]
        with np.load(folder / "reference.npz") as arrays:
            self.arrays = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
        self.frames = len(self.keys["state"]["delta_indices"])
        self.tokenizer: Any = load_tokenizer(FIXTURE / "backbone")
        self.config = Gr00tN1d7Config.tiny(
            patch_size=16,
            image_size=64,
            vocab_size=1024,
            image_token_index=self.tokenizer.convert_tokens_to_ids("<|image_pad|>"),
            action_horizon=self.kwargs["max_action_horizon"],
            action_dim=self.kwargs["max_action_dim"],
            max_state_dim=self.kwargs["max_state_dim"],
            state_history_length=self.frames,
        )

    def raw(self, what: str) -> Tensor:
        """Raw states or actions, key after key: [2, frames or horizon, D]."""
        return torch.cat([self.arrays[f"raw_{what}.{key}"] for key in self.keys[what]["modality_keys"]], dim=-1)

    def views(self) -> list[Tensor]:
        """Pictures of both samples, [2, H, W, 3] each, in the prompt's order: frame after frame, camera by camera."""
        cameras = [
            torch.stack([self.arrays[f"raw_image.{i}.{camera}"] for i in range(2)])
            for camera in self.keys["video"]["modality_keys"]
        ]
        return [camera[:, frame] for frame in range(self.frames) for camera in cameras]

    def modality(self) -> Modality:
        """The keys as a user would declare them; relative ones are the checkpoint's business."""
        relative = [
            table["rep"] == "RELATIVE" and self.kwargs["use_relative_action"]
            for table in self.keys["action"].get("action_configs") or [{"rep": ""}] * 9
        ]
        states, actions, start = {}, {}, 0
        for key in self.keys["state"]["modality_keys"]:
            end = start + self.arrays[f"raw_state.{key}"].shape[-1]
            angles = self.kwargs["apply_sincos_state_encoding"] and key in (
                self.keys["state"]["sin_cos_embedding_keys"] or ()
            )
            mode = None if angles else self.mode("state", key)
            states[key], start = StateKey("robot", start, end, mode, sin_cos=bool(angles)), end
        start = 0
        for key, is_relative in zip(self.keys["action"]["modality_keys"], relative, strict=False):
            end = start + self.arrays[f"raw_action.{key}"].shape[-1]
            actions[key], start = ActionKey(start, end, self.mode("action", key, is_relative)), end
        return Modality(TAG, {}, states, actions)

    def mode(self, part: str, key: str, relative: bool = False) -> str:
        if key in (self.keys[part]["mean_std_embedding_keys"] or ()):
            return "mean_std"
        return "q99" if self.kwargs["use_percentiles"] and not relative else "min_max"

    def robot(self) -> Gr00tN1d7Processor:
        """The processor of states and actions."""
        modality = self.modality()
        # states of the past, which no env of ours keeps, are refused where an env's checkpoint is read
        table = json.loads(self.assets["processor_config.json"])
        table["processor_kwargs"]["modality_configs"][TAG]["state"]["delta_indices"] = [0]
        present = {**self.assets, "processor_config.json": json.dumps(table).encode()}
        statistics = Gr00tN1d7Processor.read_statistics(present, modality)
        return Gr00tN1d7Processor(
            self.config, self.tokenizer, modality=modality, statistics=statistics, assets=self.assets
        )

    def prompts(self) -> Gr00tN1d7Processor:
        """The processor of pictures and texts."""
        sizes = [(view.shape[1], view.shape[2]) for view in self.views()]
        return Gr00tN1d7Processor(
            self.config,
            self.tokenizer,
            self.about["instructions"],
            num_views=len(sizes),
            image_sizes=sizes,
            assets=self.assets,
        )


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_prompts(case: Case) -> None:
    processor = case.prompts()
    ids, mask = case.arrays["input_ids"], case.arrays["attention_mask"].bool()
    prompt = processor.prompt(torch.arange(2))
    assert [list(grid) for grid in prompt.grids] * 2 == case.arrays["image_grid_thw"].tolist()
    for i in range(2):
        expected = ids[i][mask[i]]
        assert torch.equal(prompt.input_ids[i][: len(expected)], expected)
    held = processor.token_mask(torch.arange(2))
    assert (torch.ones(2, processor.prompt_length) if held is None else held).sum(1).tolist() == mask.sum(1).tolist()


def test_pictures(case: Case) -> None:
    found, expected = case.prompts().images(case.views()), case.arrays["pixel_values"]
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)  # a grey level is 1 / 127.5


def test_states(case: Case) -> None:
    found = case.robot().state(case.raw("state"))
    torch.testing.assert_close(found, case.arrays["state"].float(), rtol=0, atol=1e-6)


def test_actions_to_the_network(case: Case) -> None:
    processor, steps = case.robot(), len(case.keys["action"]["delta_indices"])
    found = processor.pad_action(case.raw("action"), case.raw("state"))
    torch.testing.assert_close(found, case.arrays["action"][:, :steps].float(), rtol=0, atol=1e-6)
    mask = case.arrays["action_mask"]
    assert bool((mask[:, :steps, : case.modality().action_dim] == 1).all()) and mask.sum() == (
        2 * steps * case.modality().action_dim
    )


def test_actions_from_the_network(case: Case) -> None:
    processor, steps = case.robot(), len(case.keys["action"]["delta_indices"])
    found = processor.action(case.arrays["normalized"], case.modality().action_dim, case.raw("state"))
    assert processor.known_embodiment(case.assets, case.modality().embodiment_tag).steps == steps
    keys = case.keys["action"]["modality_keys"]
    expected = torch.cat([case.arrays[f"decoded.{key}"] for key in keys], dim=-1)
    torch.testing.assert_close(found[:, :steps], expected.float(), rtol=0, atol=1e-6)
