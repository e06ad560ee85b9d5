# SPDX-License-Identifier: BSD-3-Clause
"""The pictures of one episode and camera on disk, whole or a part of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from ..utils.foreign_files import check_regular
from .pictures import decode_part, decode_png, decode_video, picture_times, stored_frames, stored_rate


@dataclass(frozen=True)
class Clip:
    """``length`` pictures of a file, from number ``first`` on.

    Raises:
        ValueError: A method finds that the file does not hold these pictures.
        OSError: A method cannot read the file.
    """

    path: Path
    length: int
    size: tuple[int, int]
    """Height and width [px]."""
    first: int = 0
    column: str | None = None
    """Column of a parquet file with PNG or JPEG pictures; None for a video."""
    whole: bool = True
    """Whether the file holds no other episode, so that its first pictures are those of the frames."""

    def check(self, fps: float) -> int:
        """How many pictures are stored beyond the episode's last, as far as it goes without decoding.

        Recorders leave some, and LeRobot's and NVIDIA's loaders do not look at them. A video may also name another rate
        than the dataset and still hold a picture per frame.

        Args:
            fps: Frames per second of the dataset.

        Raises:
            ValueError: There are too few, or as many as the video's own rate makes of the episode: then picture t is
                not that of frame t.
        """
        if self.column is not None or not self.whole:
            return 0
        frames = stored_frames(self.path)
        surplus = frames - self.length
        if surplus < 0:
            raise ValueError(f"{self.path.name} holds {frames} pictures, the episode has {self.length} frames")
        rate = self.rate() if surplus else None
        if rate and abs(rate / fps - 1) > 0.01 and abs(frames - self.length * rate / fps) < surplus:
            raise ValueError(
                f"{self.path.name} holds {frames} pictures at {rate:g} per second, the episode has {self.length} "
                f"frames at {fps:g}: encode the video with one picture per frame"
            )
        return surplus

    def rate(self) -> float | None:
        """Pictures per second, as a video says; None where it says nothing."""
        return None if self.column is not None else stored_rate(self.path)

    def read(self, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """Pictures ``start`` to ``stop`` - 1 of the episode, uint8 [stop - start, H, W, 3]; all of them by default."""
        stop = self.length if stop is None else stop
        if self.column is not None:
            pictures = _stored_pictures(self.path, self.column, self.first + start, self.first + stop)
        elif self.whole and stop - start == self.length:
            pictures = decode_video(self.path)[: self.length]
        else:
            pictures = decode_part(self.path, self.first + start, self.first + stop)
        if tuple(pictures.shape) != (stop - start, *self.size, 3):
            raise ValueError(
                f"{self.path.name} holds pictures {list(pictures.shape)}, {[stop - start, *self.size, 3]} are expected"
            )
        return pictures


def first_frame(path: Path, second: float, length: int, fps: float) -> int:
    """Number of the picture of a video that is shown at ``second``, the first of ``length`` that follow each other.

    Raises:
        ValueError: No picture is shown then, or not enough follow at this rate.
    """
    times = picture_times(path)[1]
    first = int(np.abs(times - second).argmin()) if len(times) else 0
    for number, wanted in ((first, second), (first + length - 1, second + (length - 1) / fps)):
        if number >= len(times) or abs(times[number] - wanted) > 0.5 / fps:
            raise ValueError(
                f"{path.name} shows no picture at {wanted:.3f} s, where the index says that an episode of {length} "
                f"frames is; it holds {len(times)} pictures"
            )
    return first


@functools.lru_cache(maxsize=64)
def _row_groups(path: Path) -> tuple[int, ...]:
    """Number of the first row of each row group of a parquet file, and of all rows."""
    check_regular(path)
    metadata = pq.read_metadata(path)
    counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    return tuple(int(n) for n in np.cumsum([0, *counts]))


def _stored_pictures(path: Path, column: str, start: int, stop: int) -> torch.Tensor:
    """Rows ``start`` to ``stop`` - 1 of a column of picture files; only their row groups are read."""
    begins = np.array(_row_groups(path))
    groups = np.flatnonzero((begins[:-1] < stop) & (begins[1:] > start)).tolist()
    if not groups or begins[-1] < stop:
        raise ValueError(f"{path.name} has {begins[-1]} rows, {stop} are expected")
    table = pq.ParquetFile(path).read_row_groups(groups, columns=[column])
    if column not in table.column_names:
        raise ValueError(f"{path.name} has no column {column!r}")
    cells = table[column].slice(start - begins[groups[0]], stop - start)
    return torch.stack([decode_png(_content(path, cell.as_py())) for cell in cells])


def _content(path: Path, cell: object) -> bytes:
    """The picture file in a cell of LeRobot's ``image`` features."""
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(content, bytes):
        raise ValueError(f"{path.name} names picture files instead of holding them; embed them")
    return content
