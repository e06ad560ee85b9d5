# SPDX-License-Identifier: BSD-3-Clause
"""Reading demonstrations: whole datasets as tensors, and chunks of actions out of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from ..utils.errors import ConfigurationError
from ..utils.foreign_files import check_regular, is_inside
from . import layout as files
from . import tables
from .layout import ACTION, PRIVILEGED, STATE, Layout, Slice, episode_path, image_column, read_layout
from .pictures import decode_png, decode_video
from .statistics import by_key, statistics
from .writer import vectors

if TYPE_CHECKING:
    from ..gr00t import Modality  # loads transformers


@dataclass(frozen=True)
class Demonstrations:
    """All frames F of one or more datasets of the same layout, episode after episode, on the CPU."""

    layout: Layout
    pictures: dict[str, torch.Tensor]
    """Camera -> uint8 [F, H, W, 3]."""
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

    @classmethod
    def load(cls, roots: Sequence[str | Path], only_success: bool = False, episodes: int | None = None) -> Self:
        """Read datasets from their folders.

        Args:
            roots: Folders in the LeRobot v2 layout with GR00T's modality.json.
            only_success: Leave out episodes that are marked as failures.
            episodes: Read only the first so many of each folder.

        Raises:
            ConfigurationError: A folder that is no such dataset, a broken file, datasets of different layouts, or too
                few episodes.
        """
        parts = [_read(Path(root).expanduser(), only_success, episodes) for root in roots]
        first = parts[0].layout
        for root, part in zip(roots, parts, strict=True):
            _check_alike(root, part.layout, first)
        instructions = list(dict.fromkeys(text for part in parts for text in part.instructions))
        privileged = tuple(dict.fromkeys(name for part in parts for name in part.layout.privileged))
        lengths = [length for part in parts for length in part.lengths]
        return cls(
            dataclasses.replace(first, privileged=privileged),
            {key: torch.cat([part.pictures[key] for part in parts]) for key in first.cameras},
            torch.cat([part.state for part in parts]),
            torch.cat([part.action for part in parts]),
            torch.cat([_privileged(part, privileged) for part in parts]),
            torch.cat([_renumber(part, instructions) for part in parts]),
            instructions,
            torch.tensor([0, *lengths]).cumsum(0),
            torch.tensor([bool(row.get("success", True)) for part in parts for row in part.rows]),
        )

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

    def _changes(self) -> torch.Tensor:
        """Which dimensions of the action are changes, bool [A]."""
        mask = torch.zeros(self.action.shape[1], dtype=torch.bool)
        for part in self.layout.action.values():
            mask[part.start : part.end] = not part.absolute
        return mask

    def check(self, modality: Modality) -> None:
        """Make sure that the dataset holds what an embodiment's modality names, in the same places.

        Raises:
            ConfigurationError: A camera or a key that the dataset does not have, has elsewhere, or has too many.
        """
        wanted = Layout.of(modality, {}, self.layout.fps)
        if missing := [key for key in modality.video if key not in self.layout.cameras]:
            raise ConfigurationError(
                f"the task's modality has the camera {missing[0]!r}, the dataset has "
                f"{', '.join(self.layout.cameras) or 'no camera'}; give demonstrations of this --task, or the --task "
                "that they show"
            )
        for part, found, needed in (
            ("state", self.layout.state, wanted.state),
            ("action", self.layout.action, wanted.action),
        ):
            if dict(found) != dict(needed):
                raise ConfigurationError(
                    f"the dataset's {part} is {_text(found)}, the task's modality has {_text(needed)}; give "
                    "demonstrations of this --task, or the --task that they show"
                )

    def statistics(self) -> dict[str, dict[str, dict[str, list[float]]]]:
        """Statistics of all frames, ``"state"`` or ``"action"`` -> key -> statistic -> a number per dimension."""
        return {
            "state": by_key(statistics(self.state), self.layout.state),
            "action": by_key(statistics(self.action), self.layout.action),
        }


@dataclass(frozen=True)
class _Part:
    """One dataset."""

    layout: Layout
    rows: list[dict[str, Any]]
    """Lines of episodes.jsonl."""
    pictures: dict[str, torch.Tensor]
    state: torch.Tensor
    action: torch.Tensor
    privileged: torch.Tensor
    task: torch.Tensor
    instructions: dict[str, int]

    @property
    def lengths(self) -> list[int]:
        return [row["length"] for row in self.rows]


def _read(root: Path, only_success: bool, episodes: int | None) -> _Part:
    layout, source = read_layout(root), _Source(root)
    named, file = root / files.TASKS, root / files.EPISODES
    tasks = {
        tables.of_type(named, row, "task", str): tables.count(named, row, "task_index")
        for row in tables.read_jsonl(named)
    }
    listed = tables.read_jsonl(file)
    for row in listed:
        tables.count(file, row, "episode_index")
        tables.count(file, row, "length", least=1)
    rows = [row for row in listed if row.get("success", True) or not only_success]
    if not rows or (episodes is not None and episodes > len(rows)):
        kind = "successful episodes" if only_success else "episodes"
        raise ConfigurationError(
            f"--dataset {root} has {len(rows)} {kind} of {len(listed)} in all, {episodes or 1} are wanted; "
            + (f"set --episodes to at most {len(rows)}" if rows else "collect some first")
        )
    rows = rows[:episodes]
    total = sum(row["length"] for row in rows)
    try:
        state, action = torch.empty(total, layout.state_dim), torch.empty(total, layout.action_dim)
        privileged = torch.empty(total, len(layout.privileged))
        task = torch.empty(total, dtype=torch.long)
        pictures = {key: torch.empty(total, *size, 3, dtype=torch.uint8) for key, size in layout.cameras.items()}
    except (RuntimeError, MemoryError, OverflowError) as error:
        raise ConfigurationError(
            f"--dataset {root}: {total} frames do not fit into memory ({str(error).splitlines()[0]}); set --episodes, "
            "or copy meta again"
        ) from None
    start = 0
    for row in tqdm(rows, desc=f"reading {root}", unit="episode", delay=2):
        index, frames = row["episode_index"], slice(start, start + row["length"])
        try:
            table = source.table(index)
            state[frames] = vectors(table, STATE)[:, : layout.state_dim]
            action[frames] = vectors(table, ACTION)[:, : layout.action_dim]
            if layout.privileged:
                privileged[frames] = vectors(table, PRIVILEGED)
            task[frames] = _task_numbers(table, tasks)
            for key, buffer in pictures.items():
                buffer[frames] = source.pictures(layout, table, key, index)
        except Exception as error:  # whatever pyarrow, PyAV and Pillow make of foreign bytes
            reason = f"it has no {error}" if isinstance(error, KeyError) else str(error).strip().split("\n")[0]
            raise ConfigurationError(
                f"--dataset {root}: episode {index} cannot be read ({reason}); copy or collect the dataset again"
            ) from None
        start = frames.stop
    return _Part(layout, rows, pictures, state, action, privileged, task, tasks)


class _Source:
    """The files of a dataset's episodes, none of them outside its folder."""

    def __init__(self, root: Path) -> None:
        self._root, info = root, tables.read_json(root / files.INFO)
        fields = ("episode_chunk", "episode_index")
        self._data = tables.pattern(root / files.INFO, info, "data_path", fields)
        self._video = None
        if info.get("video_path") is not None:
            self._video = tables.pattern(root / files.INFO, info, "video_path", (*fields, "video_key"))

    def table(self, index: int) -> pa.Table:
        """The episode's table."""
        path = episode_path(self._root, self._data, index)
        check_regular(path)
        return pq.read_table(path)

    def pictures(self, layout: Layout, table: pa.Table, key: str, index: int) -> torch.Tensor:
        """The episode's pictures of one camera, uint8 [T, H, W, 3]."""
        if layout.images == "png":
            return torch.stack([decode_png(cell["bytes"].as_py()) for cell in table[image_column(key)]])
        if self._video is None:
            raise ValueError("info.json has no video_path")
        if not is_inside(image_column(key)):
            raise ValueError(f"the camera's name {key!r} leaves the dataset")
        path = episode_path(self._root, self._video, index, video_key=image_column(key))
        check_regular(path)
        return decode_video(path)


def _task_numbers(table: pa.Table, tasks: dict[str, int]) -> torch.Tensor:
    """Numbers of an episode's instructions, int64 [T], all of them in the list ``tasks``."""
    numbers = torch.from_numpy(table["task_index"].to_numpy().astype("int64"))
    if unknown := sorted({*numbers.tolist()} - {*tasks.values()}):
        raise ValueError(f"task_index is {unknown[0]}, which is not in {files.TASKS}")
    return numbers


def _renumber(part: _Part, instructions: list[str]) -> torch.Tensor:
    """The part's task numbers in the list of all instructions."""
    there, positions = part.task.unique(return_inverse=True)
    texts = {number: text for text, number in part.instructions.items()}
    return torch.tensor([instructions.index(texts[number]) for number in there.tolist()])[positions]


def _privileged(part: _Part, names: tuple[str, ...]) -> torch.Tensor:
    """The part's privileged observations under all ``names``, float32 [F, P]: NaN for those that it does not have."""
    found = torch.full((len(part.action), len(names)), torch.nan)
    found[:, [names.index(name) for name in part.layout.privileged]] = part.privileged
    return found


def _text(parts: dict[str, Slice]) -> str:
    return ", ".join(
        f"{key} {part.start}:{part.end}{'' if part.absolute else ' (changes)'}" for key, part in parts.items()
    )


def _check_alike(root: str | Path, layout: Layout, first: Layout) -> None:
    for name in ("cameras", "state", "action", "fps"):
        found, wanted = getattr(layout, name), getattr(first, name)
        if found != wanted:
            if name in ("state", "action"):
                found, wanted = _text(found), _text(wanted)
            raise ConfigurationError(
                f"--dataset {root}: {name} is {found}, in the first dataset {wanted}; give datasets that were recorded "
                "alike"
            )
