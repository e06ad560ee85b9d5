# SPDX-License-Identifier: BSD-3-Clause
"""A dataset as NVIDIA's demo data is laid out: v2.0, float64, annotations beside the task, no statistics."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from gr00t_rl.data import Demonstrations
from gr00t_rl.data.inspection import as_text, inspect_dataset
from gr00t_rl.data.modality_file import modality_of_dataset
from gr00t_rl.data.pictures import encode_video
from gr00t_rl.utils.errors import ConfigurationError

LENGTHS = (3, 2, 4)
KEYS = {"left_arm": {"start": 0, "end": 2}, "hand": {"start": 2, "end": 3}, "waist": {"start": 3, "end": 5}}
TASKS = ("pick the pear", "valid", "pick the lemon")


@pytest.fixture
def robot_sim(tmp_path):
    """Three episodes, two in a chunk; the instruction stands in an annotation, and ``task_index`` says another task."""
    root, generator = tmp_path / "robot_sim", np.random.default_rng(0)
    vector = {"dtype": "float64", "shape": [5], "names": [f"motor_{i}" for i in range(5)]}
    names = ["height", "width", "channel"]
    picture = {"dtype": "video", "shape": [16, 32, 3], "names": names, "video_info": {"video.fps": 20.0}}
    features = {"observation.images.ego_view": picture, "observation.state": vector, "action": vector}
    number = {"dtype": "int64", "shape": [1]}
    features |= dict.fromkeys(("annotation.human.action.task_description", "annotation.human.validity"), number)
    info = {"codebase_version": "v2.0", "robot_type": "GR1", "fps": 20.0, "chunks_size": 2, "features": features}
    info["data_path"] = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    info["video_path"] = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
    modality = {"state": KEYS, "action": KEYS, "video": {"ego_view": {"original_key": "observation.images.ego_view"}}}
    modality["annotation"] = {"human.validity": {}, "human.action.task_description": {}}
    values = []
    for index, length in enumerate(LENGTHS):
        state, action = generator.normal(size=(2, length, 5))
        columns = {"observation.state": list(state), "action": list(action), "timestamp": np.arange(length) / 20}
        columns["annotation.human.action.task_description"] = [2 * (index % 2)] * length
        columns["annotation.human.validity"] = columns["task_index"] = [1] * length
        columns |= {"episode_index": [index] * length, "next.done": [False] * length}
        videos = root / f"videos/chunk-{index // 2:03d}/observation.images.ego_view"
        for folder in (root / f"data/chunk-{index // 2:03d}", videos, root / "meta"):
            folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            pa.table(columns), root / info["data_path"].format(episode_chunk=index // 2, episode_index=index)
        )
        pictures = torch.full((length, 16, 32, 3), 50 * index, dtype=torch.uint8)
        (videos / f"episode_{index:06d}.mp4").write_bytes(encode_video(pictures, 20.0))
        values.append((state, action))
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/modality.json").write_text(json.dumps(modality))
    rows = [{"episode_index": i, "tasks": [TASKS[0]], "length": n} for i, n in enumerate(LENGTHS)]
    (root / "meta/episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = [{"task_index": i, "task": text} for i, text in enumerate(TASKS)]
    (root / "meta/tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tasks))
    return root, [torch.from_numpy(np.concatenate(part)).float() for part in zip(*values, strict=True)]


def test_it_is_read_as_its_tools_read_it(robot_sim):
    root, (state, action) = robot_sim
    data = Demonstrations.load([root])
    assert torch.equal(data.state, state) and torch.equal(data.action, action)
    assert [data.instructions[i] for i in data.task] == [TASKS[0]] * 3 + [TASKS[2]] * 2 + [TASKS[0]] * 4
    assert data.pictures["ego_view"][:, 0, 0, 0].tolist() == [0] * 3 + [50] * 2 + [100] * 4
    report = inspect_dataset(root)
    assert report["version"] == "v2.0" and report["tasks"] == {TASKS[0]: 7, "valid": 0, TASKS[2]: 2}
    modality = modality_of_dataset(json.loads((root / "meta/modality.json").read_text()), "gr1", root)
    assert data.arranged(modality) is data and modality.state["waist"].group == "observation.state"
    some = {"state": {"waist": KEYS["waist"]}, "action": {"hand": KEYS["hand"], "left_arm": KEYS["left_arm"]}}
    found = data.arranged(modality_of_dataset(some, "gr1", root))
    assert torch.equal(found.state, state[:, 3:]) and torch.equal(found.action, action[:, [2, 0, 1]])
    assert found.statistics()["state"]["waist"]["mean"] == pytest.approx(state[:, 3:].mean(0).tolist(), abs=1e-6)


def rewrite(root, name, change):
    """Change a JSON table of a dataset."""
    content = json.loads((root / f"meta/{name}.json").read_text())
    change(content)
    (root / f"meta/{name}.json").write_text(json.dumps(content))


TOLD = "annotation.human.action.task_description"
ELSEWHERE = {
    "in the tables alone": lambda r: rewrite(r, "info", lambda info: info["features"].pop(TOLD)),
    "droid": lambda r: annotate(r, {"language.language_instruction": {"original_key": TOLD}}),
    "gr1": lambda r: annotate(r, {"human.validity": {}, "human.coarse_action": {"original_key": TOLD}}),
    "beside another": lambda r: annotate(
        r, {"human.coarse_action": {"original_key": "task_index"}, "human.action.task_description": {}}
    ),
    "without a column": lambda r: annotate(
        r, {"language.action_text": {}, "human.coarse_action": {"original_key": TOLD}}
    ),
}


def annotate(root, annotations):
    rewrite(root, "modality", lambda modality: modality.update(annotation=annotations))


@pytest.mark.parametrize("where", ELSEWHERE)
def test_instructions_are_found_where_the_released_configs_look(robot_sim, where):
    root, _ = robot_sim
    ELSEWHERE[where](root)
    data = Demonstrations.load([root])
    assert [data.instructions[i] for i in data.task] == [TASKS[0]] * 3 + [TASKS[2]] * 2 + [TASKS[0]] * 4


@pytest.mark.parametrize("annotation", [{}, {"human.validity": {}}, {"human.task_description": {}}])
def test_without_an_annotation_the_task_is_the_instruction(robot_sim, annotation):
    """As of DROID's sample, whose annotation has the task's own column, and of Bridge's, whose has none."""
    root, _ = robot_sim
    annotate(root, annotation)
    data = Demonstrations.load([root])
    assert data.layout.task_column == "task_index" and [data.instructions[i] for i in data.task] == [TASKS[1]] * 9


@pytest.mark.parametrize("shape", [[16, 32, 3], [3, 16, 32]])
def test_cameras_need_neither_a_column_nor_names(robot_sim, shape):
    root, _ = robot_sim
    before = Demonstrations.load([root])
    rewrite(root, "modality", lambda modality: modality.update(video={"ego_view": {}}))
    picture = {"dtype": "video", "shape": shape}
    rewrite(root, "info", lambda info: info["features"].update({"observation.images.ego_view": picture}))
    after = Demonstrations.load([root])
    assert after.layout.cameras == {"ego_view": (16, 32)} and after.layout.camera_columns == {}
    assert torch.equal(after.pictures["ego_view"], before.pictures["ego_view"])


@pytest.mark.parametrize("pattern", ["data/*/episode_000001.parquet", "videos/*/*/episode_000001.mp4", "meta/*.jsonl"])
def test_a_clone_without_its_large_files_says_so(robot_sim, pattern):
    root, _ = robot_sim
    file = next(root.glob(pattern))
    file.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 180485\n")
    with pytest.raises(ConfigurationError, match=rf"\({file.name} is a pointer of Git LFS, run `git lfs pull` in its"):
        Demonstrations.load([root])
    with pytest.raises(ConfigurationError, match="pointer of Git LFS"):
        inspect_dataset(root)


def test_vectors_as_text_are_refused(robot_sim):
    root, _ = robot_sim
    file = root / "data/chunk-000/episode_000001.parquet"
    table = pq.read_table(file)
    text = pa.array([json.dumps(row) for row in table["action"].to_pylist()])
    pq.write_table(table.set_column(table.column_names.index("action"), "action", text), file)
    with pytest.raises(ConfigurationError, match=r"episode 1 .* \(action holds string, numbers are expected"):
        Demonstrations.load([root])


def test_videos_with_more_pictures_at_another_rate(robot_sim, capsys):
    """As recorders leave them: one picture more than rows, and 10 where the dataset says 20."""
    root, _ = robot_sim
    before = Demonstrations.load([root])
    file = root / "videos/chunk-000/observation.images.ego_view/episode_000001.mp4"
    pictures = torch.full((LENGTHS[1] + 1, 16, 32, 3), 50, dtype=torch.uint8)
    pictures[-1] = 200
    file.write_bytes(encode_video(pictures, 10.0))
    after = Demonstrations.load([root])
    assert torch.equal(after.pictures["ego_view"], before.pictures["ego_view"])
    assert "more pictures than their episodes have frames (1 of them, first of episode 1)" in capsys.readouterr().out
    report = inspect_dataset(root)
    assert report["videos"] == {"ego_view": {"longer": [{"episode": 1, "more": 1}], "other_rates": [10.0]}}
    assert "10 pictures per second, the dataset has 20 frames" in as_text(report)
