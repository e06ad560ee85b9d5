# SPDX-License-Identifier: BSD-3-Clause
"""Small datasets of random numbers and pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from data_episodes import make_episode

from gr00t_rl.data import DatasetWriter, Episode, Layout, Slice
from gr00t_rl.data.layout import image_column
from gr00t_rl.data.pictures import encode_png, encode_video

LENGTHS = (4, 3, 5)


@pytest.fixture
def layout() -> Layout:
    """Two cameras of different size, joints and a gripper, changes of the arm and a gripper command."""
    return Layout(
        cameras={"front": (16, 24), "wrist": (8, 8)},
        state={"joints": Slice(0, 2), "gripper": Slice(2, 3)},
        action={"arm": Slice(0, 2, absolute=False), "gripper": Slice(2, 3)},
        fps=20.0,
    )


@pytest.fixture(name="make_episode")
def _make_episode() -> Callable[..., Episode]:
    return make_episode


@pytest.fixture
def episodes(layout: Layout) -> list[Episode]:
    """Three episodes of two instructions; the second failed."""
    texts = ("reach the ball", "push the cube", "reach the ball")
    return [make_episode(layout, n, i, texts[i], i != 1) for i, n in enumerate(LENGTHS)]


@pytest.fixture
def write(tmp_path: Path, layout: Layout) -> Callable[..., Path]:
    """Write episodes as a dataset and return its folder."""

    def write_dataset(episodes: list[Episode], name: str = "dataset", layout: Layout = layout) -> Path:
        writer = DatasetWriter(tmp_path / name, layout, {"seed": 0})
        for episode in episodes:
            writer.add(episode)
        writer.commit(1)
        return tmp_path / name

    return write_dataset


@pytest.fixture
def write_v3(tmp_path: Path, layout: Layout) -> Callable[..., Path]:
    """Write episodes as LeRobot v3.0 lays them out, and return the folder.

    ``tables`` and ``videos`` say which episodes share a file; those of videos may differ between cameras. Every second
    index row lies in a second index file.
    """

    def write_dataset(
        episodes: list[Episode],
        tables: Sequence[Sequence[int]] = ((0, 1), (2,)),
        videos: Mapping[str, Sequence[Sequence[int]]] | None = None,
        layout: Layout = layout,
        name: str = "v3",
    ) -> Path:
        root, rows = tmp_path / name, _index_v3(episodes)
        texts = list(dict.fromkeys(episode.instruction for episode in episodes))
        for number, members in enumerate(tables):
            parts = [_table_v3(episodes[i], rows[i], texts, layout) for i in members]
            _write_table(root / f"data/chunk-000/file-{number:03d}.parquet", pa.concat_tables(parts))
            for i in members:
                rows[i] |= {"data/chunk_index": 0, "data/file_index": number}
        for key in layout.cameras if layout.images == "mp4" else ():
            column = image_column(key)
            for number, members in enumerate((videos or {}).get(key, tables)):
                path = root / f"videos/{column}/chunk-000/file-{number:03d}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encode_video(torch.cat([episodes[i].pictures[key] for i in members]), layout.fps))
                begin = 0
                for i in members:
                    end = begin + len(episodes[i])
                    rows[i] |= {f"videos/{column}/chunk_index": 0, f"videos/{column}/file_index": number}
                    rows[i][f"videos/{column}/from_timestamp"] = begin / layout.fps
                    rows[i][f"videos/{column}/to_timestamp"] = end / layout.fps
                    begin = end
        tasks = pa.table({"task_index": range(len(texts)), "__index_level_0__": texts})
        _write_table(root / "meta/tasks.parquet", tasks)
        for number, part in enumerate((rows[::2], rows[1::2])):
            _write_table(root / f"meta/episodes/chunk-000/file-{number:03d}.parquet", pa.Table.from_pylist(part))
        info = layout.info_json(len(episodes), rows[-1]["dataset_to_index"], len(texts))
        path = "chunk-{chunk_index:03d}/file-{file_index:03d}"
        info |= {"codebase_version": "v3.0", "data_path": f"data/{path}.parquet"}
        info |= {"video_path": f"videos/{{video_key}}/{path}.mp4" if layout.images == "mp4" else None}
        del info["total_chunks"], info["total_videos"], info["features"]["annotation.human.task_description"]
        (root / "meta/info.json").write_text(json.dumps(info))
        (root / "meta/modality.json").write_text(json.dumps(layout.modality_json()))
        return root

    return write_dataset


def _index_v3(episodes: list[Episode]) -> list[dict[str, Any]]:
    """Index rows, without the files."""
    rows, begin = [], 0
    for index, episode in enumerate(episodes):
        row = {"episode_index": index, "tasks": [episode.instruction], "length": len(episode)}
        row |= {"dataset_from_index": begin, "dataset_to_index": begin + len(episode), "stats/action/min": [0.0]}
        rows.append(row)
        begin += len(episode)
    return rows


def _table_v3(episode: Episode, row: dict[str, Any], texts: list[str], layout: Layout) -> pa.Table:
    """The frames of an episode, as LeRobot's data files hold them."""
    steps = range(len(episode))
    columns: dict[str, Any] = {
        "observation.state": episode.state.tolist(),
        "action": episode.action.tolist(),
        "timestamp": [t / layout.fps for t in steps],
        "frame_index": list(steps),
        "episode_index": [row["episode_index"]] * len(episode),
        "index": [row["dataset_from_index"] + t for t in steps],
        "task_index": [texts.index(episode.instruction)] * len(episode),
    }
    for key in layout.cameras if layout.images == "png" else ():
        columns[image_column(key)] = [{"bytes": encode_png(p), "path": None} for p in episode.pictures[key]]
    return pa.table(columns)


def _write_table(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=4)
