# SPDX-License-Identifier: BSD-3-Clause
"""Fine-tuning without a task, and on pictures that are larger than memory."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gr00t_rl.cli.finetune import build_parser
from gr00t_rl.data import frame_cache, task_modality
from gr00t_rl.data.clips import Clip
from gr00t_rl.data.frame_cache import FrameCache
from gr00t_rl.gr00t import METADATA_FILE, ActionKey, Gr00tN1d5, Gr00tN1d5Config, Modality, StateKey
from gr00t_rl.gr00t.checkpoint import SETTINGS_FILE
from gr00t_rl.gr00t.n1d5.processor import RELEASED_CROP
from gr00t_rl.sft import program
from gr00t_rl.sft.arguments import complete_arguments
from gr00t_rl.sft.embodiment import chosen_embodiment
from gr00t_rl.sft.training import Batches
from gr00t_rl.utils.errors import ConfigurationError

camera = pytest.mark.parametrize("modality", ["camera"], indirect=True)
SMALL = ["--image_size", "16", "--patch_size", "8", "--action_horizon", "4", "--device", "cpu"]
SMALL += ["--steps", "2", "--batch_size", "4", "--draws", "2", "--held_out", "0.3"]


def finetune(root: Path, out: Path, *options: str) -> dict:
    """Run the command; returns what it wrote of its losses."""
    args = build_parser().parse_args(
        ["--dataset", str(root), "--checkpoint", "tiny", "--out", str(out), *SMALL, *options]
    )
    complete_arguments(args)
    program.run(args)
    return json.loads((out / program.LOG_FILE).read_text())


@camera
def test_a_dataset_is_enough_and_may_be_larger_than_memory(dataset, modality, tmp_path, monkeypatch, capsys):
    """The keys are the dataset's own. Decoding as needed gives the same pictures, and the same weights each time."""
    root = dataset(6)
    whole = finetune(root, tmp_path / "whole", "--embodiment_tag", "robot")
    metadata = json.loads((tmp_path / "whole" / METADATA_FILE).read_text())["robot"]
    assert list(metadata["statistics"]["action"]) == ["gripper", "arm"]
    assert metadata["modalities"]["action"]["arm"]["absolute"] is False
    monkeypatch.setattr(frame_cache, "SEGMENT", 4)
    monkeypatch.setattr(frame_cache, "LEAST_SEGMENTS", 1)
    options = ("--embodiment_tag", "robot", "--pictures_gb", "2e-5")
    capsys.readouterr()
    parts = [finetune(root, tmp_path / name, *options) for name in ("a", "b")]
    assert "pictures are decoded as they are needed" in capsys.readouterr().out
    assert parts[0]["held_out_loss_before"] == whole["held_out_loss_before"]
    assert parts[0]["curve"] == parts[1]["curve"] and parts[0]["held_out_loss"] == parts[1]["held_out_loss"]
    (tmp_path / "keys.json").write_text((root / "meta" / "modality.json").read_text())
    (root / "meta" / "modality.json").unlink()
    told = finetune(root, tmp_path / "c", "--modality", str(tmp_path / "keys.json"), "--embodiment_tag", "robot")
    assert told["curve"] == whole["curve"]
    (root / "meta" / "modality.json").write_text((tmp_path / "keys.json").read_text())
    changed = finetune(root, tmp_path / "d", "--embodiment_tag", "robot", "--augment")
    assert changed["curve"] != whole["curve"]
    # who learns on random crops is run on the middle of the pictures
    crops = [json.loads((tmp_path / name / SETTINGS_FILE).read_text())["modality"]["video_crop"] for name in "da"]
    assert crops == [RELEASED_CROP, 1.0]


@camera
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "nothing says what state and action are; give --task"),
        (["--task", "X", "--embodiment_tag", "robot"], "--task declares the modality, and --embodiment_tag another"),
        (
            ["--task", "X", "--modality", "f", "--embodiment_tag", "r"],
            "give --task, or --modality and --embodiment_tag",
        ),
        (["--embodiment_tag", "robot", "--pictures_gb", "0"], "--pictures_gb is 0.0; set more than 0"),
        (["--embodiment_tag", "robot", "--pictures_gb", "1e-6"], "--pictures_gb is 1e-06, too little"),
        (["--modality", "/nowhere.json"], "--modality /nowhere.json cannot be read"),
        (["--embodiment_tag", "robot", "--checkpoint", "FIXTURE"], "does not say which row of its weights 'robot' has"),
    ],
)
def test_what_is_not_said_once_is_refused(dataset, modality, tmp_path, options, said):
    fixture = Path(__file__).parents[1] / "fixtures" / "gr00t_n1d5_tiny"
    options = [str(fixture) if option == "FIXTURE" else option for option in options]
    sizes = len(SMALL) - SMALL.index("--device")
    args = ["--dataset", str(dataset(2)), "--checkpoint", "tiny", "--out", str(tmp_path / "out"), *SMALL[-sizes:]]
    args = build_parser().parse_args([*args, *options])
    with pytest.raises(ConfigurationError, match=said) as error:
        complete_arguments(args)
        program.run(args)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rows", "tag", "of_agent", "options", "row"),
    [
        (32, "new_embodiment", 0, [], 31),  # as NVIDIA's programs have it
        (32, "gr1", 0, [], 24),
        (32, "mine", 0, [], 0),
        (32, "new_embodiment", 3, [], 3),
        (32, "new_embodiment", 0, ["--embodiment_id", "0"], 0),
        (4, "new_embodiment", 0, [], 0),
    ],
)
def test_the_row_of_a_tasks_embodiment(rows, tag, of_agent, options, row, tmp_path, monkeypatch):
    config = Gr00tN1d5Config.tiny(max_num_embodiments=rows)
    Gr00tN1d5.from_config(config).save_pretrained(tmp_path / "base")
    modality = Modality(tag, {}, {"s": StateKey("policy", 0, 2)}, {"a": ActionKey(0, 2)})
    agent_cfg = SimpleNamespace(actor=SimpleNamespace(embodiment_id=of_agent))
    monkeypatch.setattr(task_modality, "agent_cfg_of", lambda task: agent_cfg)
    monkeypatch.setattr(task_modality, "modality_of", lambda cfg, task: modality)
    args = build_parser().parse_args(
        ["--dataset", "d", "--task", "X", "--checkpoint", str(tmp_path / "base"), "--out", "o", *options]
    )
    assert chosen_embodiment(args).modality is modality and args.embodiment_id == row


class RecordedCache(FrameCache):
    """Keeps what it is asked for ahead, and decodes nothing."""

    def __init__(self):
        clips = [Clip(Path("none"), length, (2, 3)) for length in (40, 30)]
        super().__init__({"front": clips}, torch.tensor([0, 40, 70]), 550.0)
        self.asked: list[torch.Tensor] = []

    def prefetch(self, frames):
        self.asked.append(frames)


def test_batches_of_a_cache_repeat_and_continue(monkeypatch):
    """Each pass visits every frame once; a saved state goes on with the same batches."""
    monkeypatch.setattr(frame_cache, "SEGMENT", 4)
    monkeypatch.setattr(frame_cache, "LEAST_SEGMENTS", 1)
    frames = torch.arange(5, 65)
    caches = [RecordedCache() for _ in range(3)]
    assert caches[0].pool_frames == 12  # 0.4 * 550 bytes of 18 each
    first, second, third = (
        Batches(frames, 7, torch.Generator().manual_seed(seed), cache)
        for seed, cache in zip((2, 2, 3), caches, strict=True)
    )
    seen = [first.next() for _ in range(9)]
    assert torch.cat(seen)[:60].sort().values.tolist() == frames.tolist()
    assert all(torch.equal(batch, second.next()) for batch in seen)
    assert not torch.equal(seen[0], third.next())
    asked = caches[0].asked[0]
    assert torch.equal(asked[:7], seen[0]) and torch.equal(asked[7:14], seen[1]) and len(asked) == 7 + 12
    third.load_state_dict(first.state_dict())
    for _ in range(12):
        assert torch.equal(third.next(), first.next())
