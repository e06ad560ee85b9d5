# SPDX-License-Identifier: BSD-3-Clause
"""The LeRobot v2.1 layout with GR00T's ``modality.json``: names of files and columns, and the files under ``meta/``.

Source: the LeRobot v2.1 dataset format and "GR00T LeRobot", its flavour in NVIDIA's Isaac-GR00T N1.5 release.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..utils.errors import ConfigurationError
from ..utils.foreign_files import is_count, shown
from ..utils.whole_files import write_whole
from . import tables

if TYPE_CHECKING:
    from ..gr00t import Modality  # loads transformers

CODEBASE_VERSION = "v2.1"
CHUNK_SIZE = 1000
"""Episodes per ``chunk-*`` folder."""
DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"

STATE, ACTION = "observation.state", "action"
PRIVILEGED = "observation.privileged"
"""Column of what only a simulator knows, where it was recorded; no part of ``modality.json``, so no policy reads it."""
ANNOTATION = "human.task_description"
"""The language annotation; its column is ``annotation.human.task_description``, an index into tasks.jsonl."""

INFO, MODALITY, STATS = "meta/info.json", "meta/modality.json", "meta/stats.json"
EPISODES, TASKS, EPISODES_STATS = "meta/episodes.jsonl", "meta/tasks.jsonl", "meta/episodes_stats.jsonl"

SCALARS: dict[str, str] = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
    f"annotation.{ANNOTATION}": "int64",
    "next.reward": "float32",
    "next.done": "bool",
    "next.success": "bool",
}
"""Columns with one number per frame, and their types."""


def image_column(key: str) -> str:
    """Column, and folder of videos, of the camera ``key``."""
    return f"observation.images.{key}"


@dataclass(frozen=True)
class Slice:
    """Where a modality key lies in the state or action vector: dimensions ``start`` to ``end`` - 1."""

    start: int
    end: int
    absolute: bool = True
    """False for a change, which is 0 where nothing happens: with that, chunks are padded at an episode's end."""


@dataclass(frozen=True)
class Layout:
    """What a dataset records: its cameras, and how the state and action vectors are divided."""

    cameras: dict[str, tuple[int, int]]
    """Camera -> (height, width) [px]."""
    state: dict[str, Slice]
    action: dict[str, Slice]
    fps: float
    """Frames per second, 1 / env step."""
    robot_type: str = "franka"
    images: str = "mp4"
    """Where pictures are: "mp4" (a video per episode and camera) or "png" (in the parquet files)."""
    privileged: tuple[str, ...] = ()
    """A name for each dimension of the privileged observations; empty where none are recorded."""

    @classmethod
    def of(
        cls,
        modality: Modality,
        cameras: dict[str, tuple[int, int]],
        fps: float,
        images: str = "mp4",
        privileged: tuple[str, ...] = (),
    ) -> Self:
        """The layout of an embodiment: the state is the modality's keys one after the other, the action the env's.

        Args:
            modality: The embodiment's keys.
            cameras: Camera -> (height, width) [px], one per video key.
            fps: 1 / env step.
            images: "mp4" or "png".
            privileged: A name for each dimension of the privileged observations.
        """
        state, start = {}, 0
        for name, key in modality.state.items():
            state[name] = Slice(start, start + key.dim)
            start += key.dim
        action = {name: Slice(key.start, key.end, key.absolute) for name, key in modality.action.items()}
        return cls(cameras, state, action, fps, images=images, privileged=privileged)

    @property
    def state_dim(self) -> int:
        """Length of the state vector."""
        return max(part.end for part in self.state.values())

    @property
    def action_dim(self) -> int:
        """Length of the action vector."""
        return max(part.end for part in self.action.values())

    def modality_json(self) -> dict[str, Any]:
        """Content of ``meta/modality.json``."""
        return {
            "state": {key: _slice_json(part, STATE) for key, part in self.state.items()},
            "action": {key: _slice_json(part, ACTION) for key, part in self.action.items()},
            "video": {key: {"original_key": image_column(key)} for key in self.cameras},
            "annotation": {ANNOTATION: {}},
        }

    def info_json(self, episodes: int, frames: int, tasks: int) -> dict[str, Any]:
        """Content of ``meta/info.json`` for so many episodes, frames and instructions."""
        features: dict[str, Any] = {image_column(key): self._image_feature(*size) for key, size in self.cameras.items()}
        for column, parts, dim in ((STATE, self.state, self.state_dim), (ACTION, self.action, self.action_dim)):
            features[column] = {"dtype": "float32", "shape": [dim], "names": _names(parts, dim)}
        if names := list(self.privileged):
            features[PRIVILEGED] = {"dtype": "float32", "shape": [len(names)], "names": names}
        features |= {name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in SCALARS.items()}
        return {
            "codebase_version": CODEBASE_VERSION,
            "robot_type": self.robot_type,
            "total_episodes": episodes,
            "total_frames": frames,
            "total_tasks": tasks,
            "total_videos": episodes * len(self.cameras) if self.images == "mp4" else 0,
            "total_chunks": -(-episodes // CHUNK_SIZE),
            "chunks_size": CHUNK_SIZE,
            "fps": self.fps,
            "splits": {"train": f"0:{episodes}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self.images == "mp4" else None,
            "features": features,
        }

    def _image_feature(self, height: int, width: int) -> dict[str, Any]:
        names = ["height", "width", "channel"]
        if self.images == "png":
            return {"dtype": "image", "shape": [height, width, 3], "names": names}
        video = {"video.codec": "h264", "video.pix_fmt": "gbrp", "video.is_depth_map": False, "has_audio": False}
        return {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": names,
            "video_info": {"video.fps": self.fps, **video},
        }


def _slice_json(part: Slice, column: str) -> dict[str, Any]:
    return {"original_key": column, "start": part.start, "end": part.end, "absolute": part.absolute}


def _names(parts: Mapping[str, Slice], dim: int) -> list[str]:
    """A name for each dimension, such as ``arm_0``."""
    names = [f"unused_{index}" for index in range(dim)]
    for key, part in parts.items():
        for index in range(part.start, part.end):
            names[index] = f"{key}_{index - part.start}"
    return names


def read_layout(root: Path) -> Layout:
    """The layout that a dataset's ``meta/info.json`` and ``meta/modality.json`` describe.

    Raises:
        ConfigurationError: a table that is missing or broken, or a key of modality.json that the dataset does not have.
    """
    info, modality = tables.read_json(root / INFO), tables.read_json(root / MODALITY)
    for name in ("features", "fps", "data_path"):
        if name not in info:
            raise ConfigurationError(f"{root / INFO} has no {name!r}; give the folder of a LeRobot v2 dataset")
    features = tables.table(root / INFO, info, "features")
    videos = tables.table(root / MODALITY, modality, "video", default={})
    cameras = {key: _camera(root, features, key, entry) for key, entry in videos.items()}
    kinds = {"png" if features[image_column(key)].get("dtype") == "image" else "mp4" for key in cameras}
    if len(kinds) > 1:
        raise ConfigurationError(f"{root / INFO}: some cameras are stored as videos, some as images; store them alike")
    images = kinds.pop() if kinds else "mp4"
    if images == "mp4" and cameras and "video_path" not in info:
        raise ConfigurationError(f"{root / INFO} has no 'video_path'; give the folder of a LeRobot v2 dataset")
    state, action = (_slices(root, features, modality, *part) for part in (("state", STATE), ("action", ACTION)))
    names = features.get(PRIVILEGED, {"names": []}).get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len({*names}) < len(names):
        raise ConfigurationError(f"{root / INFO}: {PRIVILEGED}.names is {shown(names)}; set a list of different names")
    fps, robot = tables.rate(root / INFO, info, "fps"), str(info.get("robot_type") or "unknown")
    return Layout(cameras, state, action, fps, robot, images, tuple(names))


def _camera(root: Path, features: Mapping[str, Any], key: str, entry: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of a camera's pictures."""
    column = entry.get("original_key") or key
    if column != image_column(key):
        raise ConfigurationError(
            f"{root / MODALITY}: video.{key} lies in {column!r}, but pictures of a camera {key!r} are read from "
            f"{image_column(key)!r} only; name the feature so, and set video.{key}.original_key to it"
        )
    if column not in features:
        there = [name for name in features if name.startswith(image_column(""))]
        raise ConfigurationError(
            f"{root / MODALITY}: video.{key} is {column!r}, which is no feature in {INFO} (pictures there: "
            f"{', '.join(there) or 'none'}); take the camera out of {MODALITY}, or record it"
        )
    shape = features[column].get("shape")
    if not isinstance(shape, list) or len(shape) != 3 or shape[2] != 3 or not all(is_count(n, 1) for n in shape):
        raise ConfigurationError(f"{root / INFO}: {column}.shape is {shown(shape)}; set [height, width, 3]")
    return shape[0], shape[1]


def _slices(
    root: Path, features: Mapping[str, Any], modality: Mapping[str, Any], name: str, column: str
) -> dict[str, Slice]:
    """Where the keys of the state or of the action lie."""
    if column not in features:
        raise ConfigurationError(f"{root / INFO} has no feature {column!r}; give a dataset that recorded it")
    shape = features[column].get("shape")
    if not isinstance(shape, list) or len(shape) != 1 or not is_count(width := shape[0], 1):
        raise ConfigurationError(f"{root / INFO}: {column}.shape is {shown(shape)}; set [the number of dimensions]")
    whole = tables.table(root / MODALITY, modality, name, default={})
    entries = {key: entry for key, entry in whole.items() if entry.get("original_key", column) == column}
    if not entries:
        raise ConfigurationError(
            f"{root / MODALITY}: {name!r} has no key that lies in {column}; set one, such as "
            f'{{"{name}": {{"arm": {{"start": 0, "end": {width}}}}}}}'
        )
    for key, entry in entries.items():
        start, end = entry.get("start"), entry.get("end")
        if not is_count(start) or not is_count(end) or not start < end <= width:
            raise ConfigurationError(
                f"{root / MODALITY}: {name}.{key} has start {shown(start)} and end {shown(end)}, but {column} has "
                f"{width} dimensions; set 0 <= start < end <= {width}"
            )
        tables.of_type(root / MODALITY, entry, "absolute", bool, default=True)
    return {key: Slice(entry["start"], entry["end"], entry.get("absolute", True)) for key, entry in entries.items()}


def episode_path(root: Path, pattern: str, episode: int, **names: str) -> Path:
    """Path of an episode's file; ``pattern`` is ``data_path`` or ``video_path`` of info.json."""
    return root / pattern.format(episode_chunk=episode // CHUNK_SIZE, episode_index=episode, **names)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON table, whole or not at all."""
    write_whole(path, (json.dumps(content, indent=4) + "\n").encode())


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON table per line, whole or not at all."""
    write_whole(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
