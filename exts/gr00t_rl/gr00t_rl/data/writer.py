# SPDX-License-Identifier: BSD-3-Clause
"""Writing demonstrations: episode by episode, each file whole or not at all, and resumable."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ..utils.errors import ConfigurationError, first_line
from ..utils.foreign_files import check_regular
from ..utils.whole_files import PARTIAL, partial_of, remove_leftovers, write_whole
from . import layout as files
from . import tables
from .layout import (
    ACTION,
    PRIVILEGED,
    SCALARS,
    STATE,
    Layout,
    episode_path,
    image_column,
    write_json,
    write_jsonl,
)
from .pictures import encode_png, encode_video
from .statistics import picture_statistics, statistics

PROGRESS = "meta/collection.json"
"""How far a collection came, and with which settings; written last, so that what it counts is on disk."""

_ARROW = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}
_PNG = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@dataclass(frozen=True)
class Episode:
    """One episode of T env steps, on the CPU."""

    pictures: dict[str, torch.Tensor]
    """Camera -> uint8 [T, H, W, 3], as seen before each action."""
    state: torch.Tensor
    """Raw state before each action, float32 [T, S]."""
    action: torch.Tensor
    """The action to learn, in the env's units, float32 [T, A]."""
    reward: torch.Tensor
    """Reward of each step, float32 [T]."""
    instruction: str
    success: bool
    info: dict[str, Any] = field(default_factory=dict)
    """More entries for its line in episodes.jsonl, such as seeds."""
    privileged: torch.Tensor | None = None
    """What only a simulator knows, before each action, float32 [T, P]; None where the layout has none."""

    def __len__(self) -> int:
        return len(self.action)


class DatasetWriter:
    """Writes a dataset; what is on disk is a valid dataset after every :meth:`commit`.

    A folder that a collection with the same ``settings`` left behind is continued after its last commit, and episodes
    written later are written again.

    Args:
        root: The dataset's folder; made if it is not there.
        layout: What is recorded.
        settings: What the episodes depend on (task, seed, ...), ready for JSON.

    Raises:
        ConfigurationError: ``root`` holds something else, or a dataset that was collected with other settings.
    """

    def __init__(self, root: Path, layout: Layout, settings: Mapping[str, Any]):
        self.root, self.layout, self.settings = root, layout, dict(settings)
        self.rounds = 0
        """Rounds of episodes in the last commit, counted by the caller of :meth:`commit`."""
        self.tasks: list[str] = []
        self._episodes: list[dict[str, Any]] = []
        self._stats: list[dict[str, Any]] = []
        self._vectors: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._frames = 0
        if (root / PROGRESS).exists():
            self._continue()
        elif root.exists() and (not root.is_dir() or any(root.iterdir())) and not self._is_only_started():
            raise ConfigurationError(f"--out {root} exists and was not collected by this tool; give a new folder")
        else:
            write_json(root / PROGRESS, self._progress())

    @property
    def num_episodes(self) -> int:
        """Episodes written so far."""
        return len(self._episodes)

    @property
    def num_frames(self) -> int:
        """Frames written so far."""
        return self._frames

    def add(self, episode: Episode) -> None:
        """Write the episode's own files. Raises OSError if the disk does not take them."""
        index = len(self._episodes)
        if episode.instruction not in self.tasks:
            self.tasks.append(episode.instruction)
        for key in self.layout.cameras if self.layout.images == "mp4" else ():
            path = episode_path(self.root, files.VIDEO_PATH, index, video_key=image_column(key))
            write_whole(path, encode_video(episode.pictures[key], self.layout.fps))
        table = _table(episode, self.layout, index, self._frames, self.tasks.index(episode.instruction))
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        write_whole(episode_path(self.root, files.DATA_PATH, index), buffer.getvalue())
        row = {"episode_index": index, "tasks": [episode.instruction], "length": len(episode)}
        self._episodes.append(row | {"success": episode.success} | episode.info)
        self._stats.append({"episode_index": index, "stats": _episode_statistics(episode, table)})
        self._vectors.append((episode.state, episode.action))
        self._frames += len(episode)

    def commit(self, rounds: int) -> None:
        """Write what lies under ``meta/``; ``rounds`` are the rounds that the caller has finished."""
        self.rounds = rounds
        root, count = self.root, len(self._episodes)
        write_json(root / files.MODALITY, self.layout.modality_json())
        write_json(root / files.INFO, self.layout.info_json(count, self._frames, len(self.tasks)))
        write_jsonl(root / files.TASKS, ({"task_index": i, "task": text} for i, text in enumerate(self.tasks)))
        if count:
            state, action = (torch.cat(parts) for parts in zip(*self._vectors, strict=True))
            write_json(root / files.STATS, {STATE: statistics(state), ACTION: statistics(action)})
        write_jsonl(root / files.EPISODES_STATS, self._stats)
        write_jsonl(root / files.EPISODES, self._episodes)
        write_json(root / PROGRESS, self._progress())

    def _progress(self) -> dict[str, Any]:
        return {"settings": self.settings, "rounds": self.rounds, "episodes": len(self._episodes)}

    def _is_only_started(self) -> bool:
        """Whether a collection was stopped while it wrote its very first file."""
        return [path.name for path in self.root.rglob("*") if path.is_file()] == [partial_of(self.root / PROGRESS).name]

    def _continue(self) -> None:
        """Take up a dataset where its last commit left it."""
        remove_leftovers(self.root, f"**/.*{PARTIAL}")
        file = self.root / PROGRESS
        progress = tables.read_json(file)
        if not progress.keys() >= {"settings", "rounds", "episodes"}:
            raise ConfigurationError(f"{file} does not say how far the collection came; remove --out")
        found = tables.of_type(file, progress, "settings", dict)
        for name in sorted(found.keys() | self.settings.keys()):
            if found.get(name) != self.settings.get(name):
                raise ConfigurationError(
                    f"--out {self.root} was collected with {name}={found.get(name)!r}, now it is "
                    f"{self.settings.get(name)!r}; give the same settings to continue it, or a new folder"
                )
        count = tables.count(file, progress, "episodes")
        if not count:
            return
        self.rounds = tables.count(file, progress, "rounds")
        named, listed = self.root / files.TASKS, self.root / files.EPISODES
        self.tasks = [tables.of_type(named, row, "task", str) for row in tables.read_jsonl(named)]
        self._episodes = tables.read_jsonl(listed)[:count]
        self._stats = tables.read_jsonl(self.root / files.EPISODES_STATS)[:count]
        if not len(self._episodes) == len(self._stats) == count:
            raise ConfigurationError(f"{file} counts {count} episodes, {listed} has fewer; give a new folder as --out")
        self._vectors = list(self._read_vectors(count))
        self._frames = sum(tables.count(listed, row, "length", least=1) for row in self._episodes)

    def _read_vectors(self, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for index in range(count):
            path = episode_path(self.root, files.DATA_PATH, index)
            try:
                check_regular(path)
                table = pq.read_table(path, columns=[STATE, ACTION])
                pair = vectors(table, STATE), vectors(table, ACTION)
            except Exception as error:  # whatever pyarrow makes of foreign bytes
                reason = first_line(error)
                raise ConfigurationError(
                    f"--out {self.root} cannot be continued: {path} cannot be read ({reason}); give a new folder"
                ) from None
            yield pair


def vectors(table: pa.Table, column: str) -> torch.Tensor:
    """A column of vectors or of numbers, float32 [T, D].

    Raises:
        ValueError: Vectors of different length, rows that hold none, or text.
    """
    cells = table[column].combine_chunks()
    if isinstance(cells, pa.ChunkedArray):
        cells = pa.concat_arrays(cells.chunks) if cells.num_chunks else pa.array([], cells.type)
    if cells.null_count:
        raise ValueError(f"{column} is empty in {cells.null_count} rows")
    flat = cells.flatten() if hasattr(cells, "flatten") and pa.types.is_nested(cells.type) else cells
    if isinstance(flat, pa.StringArray | pa.LargeStringArray | pa.ExtensionArray):  # JSON, as DuckDB writes lists
        raise ValueError(f"{column} holds {flat.type}, numbers are expected")
    if len(table) and len(flat) % len(table):
        raise ValueError(f"{column} holds vectors of different length")
    return torch.from_numpy(flat.to_numpy(zero_copy_only=False).astype("float32")).view(len(table), -1)


def _table(episode: Episode, layout: Layout, index: int, first_frame: int, task: int) -> pa.Table:
    """The episode's parquet table, a row per frame."""
    steps = torch.arange(len(episode))
    last = steps == len(episode) - 1
    scalars = {
        "timestamp": (steps / layout.fps).float(),
        "frame_index": steps,
        "episode_index": torch.full_like(steps, index),
        "index": first_frame + steps,
        "task_index": torch.full_like(steps, task),
        f"annotation.{files.ANNOTATION}": torch.full_like(steps, task),
        "next.reward": episode.reward.float(),
        "next.done": last,
        "next.success": last & episode.success,
    }
    columns = {name: _fixed_size(values) for name, values in _vector_columns(episode).items()}
    columns |= {name: pa.array(scalars[name].numpy(), _ARROW[dtype]) for name, dtype in SCALARS.items()}
    for key in layout.cameras if layout.images == "png" else ():
        name = f"episode_{index:06d}_{key}"
        rows = [{"bytes": encode_png(p), "path": f"{name}_{t}.png"} for t, p in enumerate(episode.pictures[key])]
        columns[image_column(key)] = pa.array(rows, _PNG)
    return pa.table(columns)


def _vector_columns(episode: Episode) -> dict[str, torch.Tensor]:
    """The episode's columns of vectors."""
    columns = {STATE: episode.state, ACTION: episode.action}
    return columns if episode.privileged is None else columns | {PRIVILEGED: episode.privileged}


def _fixed_size(values: torch.Tensor) -> pa.Array:
    flat = pa.array(values.float().contiguous().flatten().numpy())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _episode_statistics(episode: Episode, table: pa.Table) -> dict[str, Any]:
    """The episode's line in episodes_stats.jsonl: min, max, mean, std and count of every feature."""
    found: dict[str, Any] = {image_column(key): picture_statistics(p) for key, p in episode.pictures.items()}
    columns = _vector_columns(episode)
    columns |= {name: torch.from_numpy(table[name].to_numpy().astype("float64"))[:, None] for name in SCALARS}
    for name, values in columns.items():
        found[name] = {key: value for key, value in statistics(values).items() if not key.startswith("q")}
    return {name: stats | {"count": [len(episode)]} for name, stats in found.items()}
