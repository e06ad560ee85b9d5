# SPDX-License-Identifier: BSD-3-Clause
"""Reading demonstrations: datasets as tensors, and chunks of actions out of them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from ..utils.errors import ConfigurationError, first_line
from ..utils.foreign_files import check_regular, shown
from ..utils.simulators import differences
from .clips import Clip, first_frame
from .described import Described, EpisodeFiles, describe
from .frame_cache import CachedView, FrameCache
from .layout import PRIVILEGED, Layout, Slice
from .statistics import by_key, statistics
from .writer import vectors

if TYPE_CHECKING:
    from ..gr00t import Modality  # loads transformers


@dataclass(frozen=True)
class Demonstrations:
    """All frames F of one or more datasets of the same layout, episode after episode, on the CPU."""

    layout: Layout
    pictures: Mapping[str, Any]
    """Camera -> uint8 [F, H, W, 3], a tensor; where they are larger than memory, a :class:`CachedView`, which decodes
    what is asked for."""
    state: torch.Tensor
    """Raw states, float32 [F, S]."""
    action: torch.Tensor
    """Raw actions, float32 [F, A]."""
    privileged: torch.Tensor
    """What only the simulator knew, float32 [F, P], named by ``layout.privileged``; P = 0 without them.

    Datasets may differ in it: NaN where a frame's dataset does not say.
    """
    task: torch.Tensor
    """Number of each frame's instruction, int64 [F]."""
    instructions: list[str]
    start: torch.Tensor
    """First frame of each episode, and F: int64 [E + 1]."""
    success: torch.Tensor
    """Whether each episode succeeded, bool [E]; True where a dataset does not say."""
    cache: FrameCache | None = None
    """What decodes pictures that are larger than memory; None where they are all in it."""

    @classmethod
    def load(
        cls,
        roots: Sequence[str | Path],
        only_success: bool = False,
        episodes: int | None = None,
        *,
        cameras: Sequence[str] | None = None,
        max_bytes: float = math.inf,
        modality: Mapping[str, Any] | None = None,
    ) -> Self:
        """Read datasets from their folders.

        Args:
            roots: Folders in the LeRobot layout, v2.0, v2.1 or v3.0, with GR00T's modality.json.
            only_success: Leave out episodes that are marked as failures.
            episodes: Read only the first so many of each folder.
            cameras: Cameras whose pictures are read, of those that the datasets have; all where None.
            max_bytes: Most memory for pictures. Where they take more they are decoded while they are used.
            modality: What stands for the content of the folders' modality.json.

        Raises:
            ConfigurationError: A folder that is no such dataset, a broken file, datasets of different layouts, or too
                few episodes.
        """
        parts = [read_dataset(Path(root).expanduser(), only_success, episodes, modality, cameras) for root in roots]
        first = parts[0].layout
        for root, part in zip(roots, parts, strict=True):
            _check_alike(root, part.layout, first, cameras)
        instructions = list(dict.fromkeys(text for part in parts for text in part.described.tasks.values()))
        privileged = tuple(dict.fromkeys(name for part in parts for name in part.layout.privileged))
        start = torch.tensor([0, *(length for part in parts for length in part.lengths)]).cumsum(0)
        wanted = [key for key in first.cameras if cameras is None or key in cameras]
        pictures, cache = _pictures(parts, wanted, start, max_bytes)
        return cls(
            dataclasses.replace(first, privileged=privileged),
            pictures,
            torch.cat([part.state for part in parts]),
            torch.cat([part.action for part in parts]),
            torch.cat([_privileged(part, privileged) for part in parts]),
            torch.cat([_renumber(part, instructions) for part in parts]),
            instructions,
            start,
            torch.tensor([episode.success for part in parts for episode in part.episodes]),
            cache,
        )

    def close(self) -> None:
        """Stop what decodes pictures, if anything does; they cannot be read any more."""
        if self.cache is not None:
            self.cache.close()

    def __len__(self) -> int:
        """Frames F."""
        return len(self.action)

    @property
    def num_episodes(self) -> int:
        """Episodes E."""
        return len(self.start) - 1

    @property
    def episode(self) -> torch.Tensor:
        """Number of each frame's episode, int64 [F]."""
        return torch.repeat_interleave(torch.arange(self.num_episodes), self.start.diff())

    def chunks(self, frames: torch.Tensor, horizon: int) -> torch.Tensor:
        """The raw actions of the ``horizon`` env steps from each of ``frames`` [B] on: [B, H, A].

        Beyond the end of an episode stands what GR00T's loader puts there, and GR00T's loss counts it: the last action
        of a key with absolute values, zero for one with changes (nothing more happens).
        """
        last = self.start[1:][self.episode[frames]] - 1  # [B]
        steps = frames[:, None] + torch.arange(horizon)  # [B, H]
        beyond = steps > last[:, None]
        chunk = self.action[torch.minimum(steps, last[:, None])]
        return chunk.masked_fill(beyond[..., None] & self._changes(), 0.0)

    def digest(self) -> str:
        """SHA-256 of all but the pictures."""
        keys = (self.layout.state, self.layout.action, self.layout.privileged)
        digest = hashlib.sha256(json.dumps([self.instructions, repr(keys)]).encode())
        for part in (self.state, self.action, self.privileged, self.task, self.start, self.success):
            digest.update(part.contiguous().numpy())
        return digest.hexdigest()

    def _changes(self) -> torch.Tensor:
        """Which dimensions of the action are changes, bool [A]."""
        mask = torch.zeros(self.action.shape[1], dtype=torch.bool)
        for part in self.layout.action.values():
            mask[part.start : part.end] = not part.absolute
        return mask

    def check(self, modality: Modality) -> None:
        """Make sure that the dataset holds what an embodiment's modality names.

        Raises:
            ConfigurationError: A camera or a key that the dataset does not have, or not alike; a number that is none.
        """
        if missing := [key for key in modality.video if key not in self.layout.cameras]:
            raise ConfigurationError(
                f"the modality has the camera {missing[0]!r}, the dataset has "
                f"{', '.join(self.layout.cameras) or 'no camera'}; give demonstrations of this --task or --modality, "
                "or the one that they show"
            )
        wanted = Layout.of(modality, {}, self.layout.fps)
        for part in ("state", "action"):
            found, needed, values = getattr(self.layout, part), getattr(wanted, part), getattr(self, part)
            for key, place in needed.items():
                there = found.get(key)
                if there is None or (len(there), there.absolute) != (len(place), place.absolute):
                    raise ConfigurationError(
                        f"the dataset's {part} is {_text(found)}, the modality has {_text(needed)}; give "
                        "demonstrations of this --task or --modality, or the one that they show"
                    )
                bad = (~values[:, there.start : there.end].isfinite()).any(dim=1).nonzero().flatten()
                if len(bad):
                    raise ConfigurationError(
                        f"{part}.{key} is no finite number in {len(bad)} frames, first in episode "
                        f"{int(self.episode[bad[0]])} of those read; `gr00t-rl dataset inspect` counts them: repair or "
                        "leave out these episodes"
                    )

    def arranged(self, modality: Modality) -> Demonstrations:
        """The same frames with states and actions as a modality has them: its keys and cameras alone, in its places.

        Raises:
            ConfigurationError: See :meth:`check`.
        """
        self.check(modality)
        wanted = Layout.of(modality, {}, self.layout.fps)
        cameras = {key: self.layout.cameras[key] for key in modality.video}
        layout = dataclasses.replace(self.layout, cameras=cameras)
        if (dict(self.layout.state), dict(self.layout.action)) == (wanted.state, wanted.action):
            return self if [*cameras] == [*self.layout.cameras] else dataclasses.replace(self, layout=layout)
        state, action = (
            values[:, [column for key, _ in _in_place(needed) for column in range(found[key].start, found[key].end)]]
            for values, found, needed in (
                (self.state, self.layout.state, wanted.state),
                (self.action, self.layout.action, wanted.action),
            )
        )
        layout = dataclasses.replace(layout, state=wanted.state, action=wanted.action)
        return dataclasses.replace(self, layout=layout, state=state, action=action)

    def statistics(self) -> dict[str, dict[str, dict[str, list[float]]]]:
        """Statistics of all frames, ``"state"`` or ``"action"`` -> key -> statistic -> a number per dimension."""
        return {
            "state": by_key(statistics(self.state), self.layout.state),
            "action": by_key(statistics(self.action), self.layout.action),
        }


@dataclass(frozen=True)
class DatasetPart:
    """One dataset."""

    described: Described
    episodes: list[EpisodeFiles]
    clips: dict[str, list[Clip]]
    """Camera -> the pictures of each episode."""
    state: torch.Tensor
    action: torch.Tensor
    privileged: torch.Tensor
    task: torch.Tensor

    @property
    def layout(self) -> Layout:
        return self.described.layout

    @property
    def lengths(self) -> list[int]:
        return [episode.length for episode in self.episodes]


def read_dataset(
    root: Path,
    only_success: bool = False,
    episodes: int | None = None,
    modality: Mapping[str, Any] | None = None,
    cameras: Sequence[str] | None = None,
) -> DatasetPart:
    """Read a dataset without its pictures; see :meth:`Demonstrations.load`.

    Files of cameras that are not asked for are not looked at: they need not be there.
    """
    described = describe(root, modality)
    layout = described.layout
    chosen = [episode for episode in described.episodes if episode.success or not only_success]
    if not chosen or (episodes is not None and episodes > len(chosen)):
        kind = "successful episodes" if only_success else "episodes"
        raise ConfigurationError(
            f"--dataset {root} has {len(chosen)} {kind} of {len(described.episodes)} in all, {episodes or 1} are "
            "wanted; " + (f"set --episodes to at most {len(chosen)}" if chosen else "collect some first")
        )
    chosen = chosen[:episodes]
    total = sum(episode.length for episode in chosen)
    with _fitting(root, total):
        state, action = torch.empty(total, layout.state_dim), torch.empty(total, layout.action_dim)
        privileged = torch.empty(total, len(layout.privileged))
        task = torch.empty(total, dtype=torch.long)
    wanted = [key for key in layout.cameras if cameras is None or key in cameras]
    clips: dict[str, list[Clip]] = {key: [] for key in wanted}
    tables, start = _Tables(layout), 0
    for episode in tqdm(chosen, desc=f"reading {root}", unit="episode", delay=2):
        frames = slice(start, start + episode.length)
        with reading(root, episode.index):
            table, row = tables.of(episode)
            state[frames] = _joined(table, layout.state_columns)[:, : layout.state_dim]
            action[frames] = _joined(table, layout.action_columns)[:, : layout.action_dim]
            if layout.privileged:
                privileged[frames] = vectors(table, PRIVILEGED)
            task[frames] = torch.from_numpy(table[layout.task_column].to_numpy().astype("int64"))
            for key, found in clips.items():
                found.append(_clip(described, episode, key, row))
        start = frames.stop
    return DatasetPart(described, chosen, clips, state, action, privileged, task)


@contextlib.contextmanager
def reading(root: Path, episode: int) -> Iterator[None]:
    """Turn what goes wrong with an episode's files into one line."""
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:  # whatever pyarrow, PyAV and Pillow make of foreign bytes
        reason = f"it has no {error}" if isinstance(error, KeyError) else first_line(error)
        raise ConfigurationError(
            f"--dataset {root}: episode {episode} cannot be read ({reason}); copy or collect the dataset again"
        ) from None


@contextlib.contextmanager
def _fitting(root: Path, frames: int) -> Iterator[None]:
    """Turn what is larger than memory into one line."""
    try:
        yield
    except (RuntimeError, MemoryError, OverflowError) as error:
        raise ConfigurationError(
            f"--dataset {root}: {frames} frames do not fit into memory ({first_line(error)}); set --episodes, "
            "or copy meta again"
        ) from None


class _Tables:
    """Rows of one episode after the other; a file of several is read once."""

    def __init__(self, layout: Layout):
        self._columns = {*layout.state_columns, *layout.action_columns, layout.task_column, "episode_index"}
        self._columns |= {PRIVILEGED} if layout.privileged else set()
        self._path: Path | None = None
        self._table = pa.table({})

    def of(self, episode: EpisodeFiles) -> tuple[pa.Table, int]:
        """The rows of an episode without its pictures, and which row of the file is the first."""
        if self._path != episode.table:
            check_regular(episode.table)
            file = pq.ParquetFile(episode.table)
            self._table = file.read(columns=[name for name in file.schema_arrow.names if name in self._columns])
            self._path = episode.table
        if episode.begins is None:
            rows, first = self._table, 0
        else:
            numbers = np.flatnonzero(self._table["episode_index"].to_numpy() == episode.index)
            first = int(numbers[0]) if len(numbers) else 0
            if len(numbers) and numbers[-1] - first + 1 != len(numbers):
                raise ValueError(f"its rows in {episode.table.name} do not follow each other")
            rows = self._table.slice(first, len(numbers))
        if len(rows) != episode.length:
            raise ValueError(f"{episode.table.name} holds {len(rows)} rows of it, its length is {episode.length}")
        return rows, first


def _joined(table: pa.Table, columns: Sequence[str]) -> torch.Tensor:
    """Columns of vectors, one after the other, float32 [T, D]."""
    found = [vectors(table, column) for column in columns]
    return found[0] if len(found) == 1 else torch.cat(found, dim=1)


def _pictures(
    parts: Sequence[DatasetPart], cameras: Sequence[str], start: torch.Tensor, max_bytes: float
) -> tuple[dict[str, Any], FrameCache | None]:
    """All pictures in memory where they fit, and what decodes them otherwise."""
    total, sizes = int(start[-1]), {key: parts[0].layout.cameras[key] for key in cameras}
    for part in parts:
        _check_clips(part, cameras)
    if sum(3 * height * width for height, width in sizes.values()) * total > max_bytes:
        clips = {key: [clip for part in parts for clip in part.clips[key]] for key in cameras}
        cache = FrameCache(clips, start, max_bytes)
        return {key: CachedView(cache, key, total, size) for key, size in sizes.items()}, cache
    with _fitting(parts[0].described.root, total):
        pictures = {key: torch.empty(total, *size, 3, dtype=torch.uint8) for key, size in sizes.items()}
    begin = 0
    for part in parts:
        episodes = part.episodes if cameras else []
        for number, episode in enumerate(
            tqdm(episodes, desc=f"pictures of {part.described.root}", unit="episode", delay=2)
        ):
            with reading(part.described.root, episode.index):
                for key, buffer in pictures.items():
                    buffer[begin : begin + episode.length] = part.clips[key][number].read()
            begin += episode.length
    return pictures, None


def _check_clips(part: DatasetPart, cameras: Sequence[str]) -> None:
    """Compare videos with their episodes before anything is decoded, and say where they go on beyond the end."""
    longer = []
    for number, episode in enumerate(part.episodes):
        with reading(part.described.root, episode.index):
            longer += [episode.index for key in cameras if part.clips[key][number].check(part.described.layout.fps)]
    if longer:
        print(
            f"[gr00t_rl] warning: --dataset {part.described.root}: videos hold more pictures than their episodes have "
            f"frames ({len(longer)} of them, first of episode {longer[0]}); the first pictures are taken"
        )


def _clip(described: Described, episode: EpisodeFiles, key: str, row: int) -> Clip:
    """Where the episode's pictures of a camera lie; ``row`` is its first in its table."""
    layout = described.layout
    size, length, own = layout.cameras[key], episode.length, episode.begins is None
    if layout.images == "png":
        return Clip(episode.table, length, size, row, layout.camera_column(key), own)
    path = episode.videos[key]
    if episode.begins is None:
        return Clip(path, length, size)
    return Clip(path, length, size, first_frame(path, episode.begins[key], length, layout.fps), whole=False)


def _renumber(part: DatasetPart, instructions: list[str]) -> torch.Tensor:
    """The part's task numbers in the list of all instructions."""
    tasks = part.described.tasks
    there, positions = part.task.unique(return_inverse=True)
    if unknown := sorted({*there.tolist()} - {*tasks}):
        raise ConfigurationError(
            f"--dataset {part.described.root}: the column {part.layout.task_column!r} has the task {unknown[0]}, which "
            f"has no text; the dataset's tasks are {shown(sorted(tasks))}"
        )
    return torch.tensor([instructions.index(tasks[number]) for number in there.tolist()])[positions]


def _privileged(part: DatasetPart, names: tuple[str, ...]) -> torch.Tensor:
    """The part's privileged observations under all ``names``, float32 [F, P]: NaN for those that it does not have."""
    found = torch.full((len(part.action), len(names)), torch.nan)
    found[:, [names.index(name) for name in part.layout.privileged]] = part.privileged
    return found


def _in_place(parts: Mapping[str, Slice]) -> list[tuple[str, Slice]]:
    """Keys in the order of their places, which follow each other."""
    return sorted(parts.items(), key=lambda item: item[1].start)


def _text(parts: dict[str, Slice]) -> str:
    return ", ".join(
        f"{key} {part.start}:{part.end}{'' if part.absolute else ' (changes)'}" for key, part in parts.items()
    )


def _check_alike(root: str | Path, layout: Layout, first: Layout, cameras: Sequence[str] | None) -> None:
    """Refuse a dataset whose keys, rate or ``cameras`` are not those of the first; other cameras may be."""
    for name in ("cameras", "state", "action", "fps"):
        found, wanted = getattr(layout, name), getattr(first, name)
        if name == "cameras" and cameras is not None:
            found, wanted = ({key: table[key] for key in cameras if key in table} for table in (found, wanted))
        if found != wanted:
            if name in ("state", "action"):
                found, wanted = _text(found), _text(wanted)
            raise ConfigurationError(
                f"--dataset {root}: {name} is {found}, in the first dataset {wanted}; give datasets that were recorded "
                "alike"
            )
    if changed := differences(first.simulator, layout.simulator):
        print(f"[gr00t_rl] warning: --dataset {root} was recorded in another simulator than the first: {changed[0]}")
