# SPDX-License-Identifier: BSD-3-Clause
"""The LeRobot layout with GR00T's ``modality.json``: names of files and columns, and the tables under ``meta/``.

Ours is v2.1, see :mod:`.writer`; what other tools write is read by :mod:`.described`. Source: the LeRobot dataset
format and "GR00T LeRobot", its flavour in NVIDIA's Isaac-GR00T N1.5 release.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..utils.whole_files import write_whole

if TYPE_CHECKING:
    from ..gr00t import Modality  # loads transformers

CODEBASE_VERSION = "v2.1"
CHUNK_SIZE = 1000
"""Episodes per ``chunk-*`` folder, where info.json says nothing else."""
DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"

STATE, ACTION = "observation.state", "action"
PRIVILEGED = "observation.privileged"
"""Column of what only a simulator knows, where it was recorded; no part of ``modality.json``, so no policy reads it."""
ANNOTATION = "human.task_description"
"""The language annotation; its column is ``annotation.human.task_description``, an index into tasks.jsonl."""

TASK_INDEX = "task_index"
"""Column with the number of each frame's task, where no annotation tells the instruction."""

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

    def __len__(self) -> int:
        """Dimensions."""
        return self.end - self.start


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
    state_columns: tuple[str, ...] = (STATE,)
    """Columns whose vectors, one after the other, are the state."""
    action_columns: tuple[str, ...] = (ACTION,)
    camera_columns: Mapping[str, str] = field(default_factory=dict)
    """Column, and folder of videos, of the cameras that lie elsewhere than :func:`image_column` says."""
    task_column: str = f"annotation.{ANNOTATION}"
    """Column with the number of each frame's instruction."""
    simulator: Mapping[str, str | bool] = field(default_factory=dict)
    """Physics and renderers that it was recorded with; empty where nobody says."""

    @classmethod
    def of(
        cls,
        modality: Modality,
        cameras: dict[str, tuple[int, int]],
        fps: float,
        images: str = "mp4",
        privileged: tuple[str, ...] = (),
        robot_type: str = "franka",
    ) -> Self:
        """The layout of an embodiment: the state is the modality's keys one after the other, the action the env's.

        Args:
            modality: The embodiment's keys.
            cameras: Camera -> (height, width) [px], one per video key.
            fps: 1 / env step.
            images: "mp4" or "png".
            privileged: A name for each dimension of the privileged observations.
            robot_type: Name of the robot.
        """
        state, start = {}, 0
        for name, key in modality.state.items():
            state[name] = Slice(start, start + key.dim)
            start += key.dim
        action = {name: Slice(key.start, key.end, key.absolute) for name, key in modality.action.items()}
        return cls(cameras, state, action, fps, robot_type, images, privileged)

    def camera_column(self, key: str) -> str:
        """Column, and folder of videos, of the camera ``key``."""
        return self.camera_columns.get(key, image_column(key))

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
            **({"simulator": dict(self.simulator)} if self.simulator else {}),
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


def episode_path(root: Path, pattern: str, episode: int, **names: str) -> Path:
    """Path of a file of an episode that we write; ``pattern`` is :data:`DATA_PATH` or :data:`VIDEO_PATH`."""
    return root / pattern.format(episode_chunk=episode // CHUNK_SIZE, episode_index=episode, **names)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON table, whole or not at all."""
    write_whole(path, (json.dumps(content, indent=4) + "\n").encode())


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON table per line, whole or not at all."""
    write_whole(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
