# SPDX-License-Identifier: BSD-3-Clause
"""`gr00t-rl dataset inspect`: what is reported of a dataset, and the modality.json that is drafted."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from gr00t_rl.cli import dataset
from gr00t_rl.data import Demonstrations
from gr00t_rl.data.draft import draft_modality
from gr00t_rl.data.inspection import as_text, inspect_dataset
from gr00t_rl.gr00t import Statistics, generation
from gr00t_rl.utils.errors import ConfigurationError

SO100 = ["shoulder_pan.pos", "shoulder_lift.pos", "elbow_flex.pos", "wrist_flex.pos", "wrist_roll.pos", "gripper.pos"]
UNITREE = [[f"k{side}{name}" for name in ("ShoulderRoll", "Elbow", "HandIndex") for side in ("Left", "Right")]]
ALOHA = [f"{side}_{name}" for side in ("left", "right") for name in ("waist", "elbow", "wrist_rotate", "gripper")]


def info_with(names, width, **others):
    vector = {"dtype": "float32", "shape": [width], "names": names}
    return {"features": {"observation.state": vector, "action": vector, **others}}


@pytest.mark.parametrize(
    ("names", "width", "keys"),
    [
        (SO100, 6, {"single_arm": (0, 5), "gripper": (5, 6)}),
        (
            {"motors": ALOHA},
            8,
            {"left_arm": (0, 3), "left_gripper": (3, 4), "right_arm": (4, 7), "right_gripper": (7, 8)},
        ),
        (
            UNITREE,
            6,
            {"left_arm": (0, 1), "right_arm": (1, 2), "left_arm_2": (2, 3), "right_arm_2": (3, 4)}
            | {"left_gripper": (4, 5), "right_gripper": (5, 6)},
        ),
        ([f"motor_{i}" for i in range(44)], 44, {"motor": (0, 44)}),
        (["joints_0", "joints_1", "gripper_0"], 3, {"joints": (0, 2), "gripper": (2, 3)}),
        (["a_0", "b_0", "a_1"], 3, {"a": (0, 1), "b": (1, 2), "a_2": (2, 3)}),
        ([["x", "y"]], 2, {"": (0, 2)}),
        (None, 7, {"": (0, 7)}),
        (["x"], 2, {"": (0, 2)}),
    ],
    ids=["so100", "aloha", "unitree", "gr1", "ours", "again", "nested", "none", "too few"],
)
def test_keys_follow_from_names(names, width, keys):
    """A key "" stands for one that has the part's own name."""
    draft = draft_modality(info_with(names, width))
    for part in ("state", "action"):
        expected = {key or part: list(place) for key, place in keys.items()}
        assert {key: [entry["start"], entry["end"]] for key, entry in draft[part].items()} == expected
    assert all(entry["absolute"] for entry in draft["action"].values())
    assert draft["annotation"] == {"human.task_description": {"original_key": "task_index"}}


def test_cameras_annotations_changes_and_other_columns():
    picture = {"dtype": "video", "shape": [3, 48, 64], "names": ["channels", "height", "width"]}
    features = {
        "observation.images.wrist.left": picture,
        "observation.image": {**picture, "dtype": "image", "shape": [48, 64, 3], "names": None},
        "observation.images.depth": {**picture, "info": {"video.is_depth_map": True}},
        "observation.state.arm": {"dtype": "float64", "shape": [7], "names": None},
        "observation.state.hand": {"dtype": "float32", "shape": [1], "names": ["gripper"]},
        "action.delta_pose": {"dtype": "float32", "shape": [6], "names": [f"delta_{a}" for a in "xyzabc"]},
        "annotation.human.action.task_description": {"dtype": "int64", "shape": [1]},
    }
    draft = draft_modality({"features": features})
    assert draft["video"] == {
        "wrist_left": {"original_key": "observation.images.wrist.left"},
        "camera": {"original_key": "observation.image"},
    }
    assert draft["state"] == {
        "arm": {"start": 0, "end": 7, "original_key": "observation.state.arm"},
        "gripper": {"start": 0, "end": 1, "original_key": "observation.state.hand"},
    }
    assert list(draft["action"].values()) == [
        {"start": 0, "end": 6, "original_key": "action.delta_pose", "absolute": False}
    ]
    assert draft["annotation"] == {"human.action.task_description": {}}


def test_columns_of_openpi_are_drafted():
    vector = {"dtype": "float32", "names": ["state"]}
    picture = {"dtype": "image", "shape": [48, 64, 3], "names": ["height", "width", "channel"]}
    features = {"image": picture, "wrist_image": picture, "timestamp": {"dtype": "float32", "shape": [1]}}
    features |= {"state": {**vector, "shape": [8]}, "actions": {**vector, "shape": [7]}}
    draft = draft_modality({"features": features})
    assert draft["state"] == {"state": {"start": 0, "end": 8, "original_key": "state"}}
    assert draft["action"] == {"actions": {"start": 0, "end": 7, "original_key": "actions", "absolute": True}}
    assert draft["video"] == {key: {"original_key": key} for key in ("image", "wrist_image")}


def strange(episodes):
    """A gripper that never moves, two states that are no numbers."""
    changed = []
    for episode in episodes:
        action, state = episode.action.clone(), episode.state.clone()
        action[:, 2] = 1.0
        state[0, 2] = torch.nan
        changed.append(dataclasses.replace(episode, action=action, state=state))
    return changed[:2]


def test_a_report_says_what_is_there_and_what_is_strange(write, episodes):
    report = inspect_dataset(write(strange(episodes)))
    assert json.loads(json.dumps(report)) == report
    assert report["version"] == "v2.1" and report["fps"] == 20.0
    counts = {"count": 2, "failed": 1, "frames": 7, "shortest": 3, "median": 3.0, "longest": 4, "minutes": 0.01}
    assert report["episodes"] == counts
    assert report["tasks"] == {"reach the ball": 4, "push the cube": 3}
    assert report["cameras"]["front"] == {
        "column": "observation.images.front", "height": 16, "width": 24, "stored": "mp4",
    }  # fmt: skip
    assert report["action"]["gripper"]["constant"] == [0] and report["action"]["arm"]["constant"] == []
    assert report["state"]["gripper"]["non_finite"] == [2]
    assert report["state"]["joints"]["statistics"]["max"] == [1.0, 3.0]
    text = as_text(report)
    for said in (
        "2 episodes (1 failed), 7 frames",
        "4 frames  'reach the ball'",
        "action.gripper: dimensions [0] never change",
        "state.gripper, dimension 0: 2 values are no finite number",
    ):
        assert said in text


def test_a_part_of_a_dataset_is_called_one(write, episodes):
    root = write(episodes)
    assert "counts" not in as_text(inspect_dataset(root))
    info = json.loads((root / "meta" / "info.json").read_text())
    (root / "meta" / "info.json").write_text(json.dumps(info | {"total_episodes": 105, "total_frames": None}))
    report = inspect_dataset(root)
    assert report["announced"] == {"episodes": 105}
    assert "meta/info.json counts 105 episodes, here are 3 episodes: a part of a dataset" in as_text(report)


def test_values_outside_a_checkpoints_range_are_counted(write, episodes):
    """The joints' second dimension counts the frames: of 4 + 3 + 5, those beyond 2 are 1 + 0 + 2."""
    joints = {"min": torch.tensor([0.0, 0.0]), "max": torch.tensor([2.0, 2.0])}
    trained = Statistics({"joints": joints, "lift": joints}, {"gripper": joints})
    report = inspect_dataset(write(episodes), trained=trained)
    fit = report["checkpoint"]
    assert fit["state"]["joints"] == {"outside": [0.0, 0.25]}
    assert fit["state"]["gripper"] is None and fit["state"]["lift"] == {"absent": True}
    assert fit["action"]["gripper"] == {"width": 2}
    inside = {"min": torch.full((3,), -99.0), "max": torch.full((3,), 99.0)}
    parts = {"joints": slice(0, 2), "gripper": slice(2, 3), "arm": slice(0, 2)}
    of = {key: {name: values[part] for name, values in inside.items()} for key, part in parts.items()}
    trained = Statistics({k: of[k] for k in ("joints", "gripper")}, {k: of[k] for k in ("arm", "gripper")})
    assert "all values lie in the checkpoint's range" in as_text(inspect_dataset(write(episodes, "b"), trained=trained))
    text = as_text(report)
    assert "all values lie" not in text
    for said in ("outside the checkpoint's range are 25.0 % of dimension 1", "the checkpoint has it", "are 2 wide"):
        assert said in text


@pytest.mark.parametrize(("name", "file"), [("n1.5", "experiment_cfg/metadata.json"), ("n1.7", "statistics.json")])
def test_statistics_of_all_embodiments(name, file):
    table = {"state": {"arm": {"min": [0.0], "max": [1.0]}}, "action": {"arm": {"min": [-1.0], "max": [1.0]}}}
    content = {tag: {"statistics": table} if name == "n1.5" else table for tag in ("one", "two")}
    found = generation(name).Processor.all_statistics({file: json.dumps(content).encode()})
    assert list(found) == ["one", "two"] and found["two"].action["arm"]["min"].tolist() == [-1.0]
    assert generation(name).Processor.all_statistics({}) == {}


def test_the_command_drafts_what_is_missing(write, episodes, capsys, tmp_path):
    root = write(episodes)
    original = (root / "meta" / "modality.json").read_text()
    (root / "meta" / "modality.json").unlink()
    with pytest.raises(ConfigurationError, match=r"modality.json does not exist.*dataset inspect .* --write`"):
        Demonstrations.load([root])
    assert dataset.main(["inspect", str(root)]) == 0
    assert "there is no meta/modality.json: the keys are a draft" in capsys.readouterr().out
    assert dataset.main(["inspect", str(root), "--json", "--write"]) == 0
    assert json.loads(capsys.readouterr().out)["state"]["joints"]["end"] == 2
    drafted, recorded = json.loads((root / "meta" / "modality.json").read_text()), json.loads(original)
    assert {key: entry["end"] for key, entry in drafted["action"].items()} == {"arm": 2, "gripper": 3}
    assert drafted["video"] == recorded["video"] and drafted["annotation"] == recorded["annotation"]
    assert len(Demonstrations.load([root])) == 12
    with pytest.raises(ConfigurationError, match="exists; a draft replaces nothing"):
        dataset.main(["inspect", str(root), "--write"])
    with pytest.raises(ConfigurationError, match="--embodiment_tag names an embodiment of a checkpoint"):
        dataset.main(["inspect", str(root), "--embodiment_tag", "x"])
    with pytest.raises(ConfigurationError, match=r"--checkpoint .*nowhere"):
        dataset.main(["inspect", str(root), "--checkpoint", str(tmp_path / "nowhere")])


def test_files_that_do_not_fit_are_found_without_decoding(write, episodes):
    root = write(episodes)
    folder = root / "videos" / "chunk-000" / "observation.images.front"
    (folder / "episode_000000.mp4").write_bytes((folder / "episode_000001.mp4").read_bytes())
    with pytest.raises(ConfigurationError, match=r"episode 0 cannot be read .episode_000000.mp4 holds 3 pictures, the"):
        inspect_dataset(root)
