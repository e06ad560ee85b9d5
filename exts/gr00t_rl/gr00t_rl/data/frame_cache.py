# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of datasets that are larger than memory: decoded while they are used, in threads, in bounded memory.

Videos are fast to read in order and slow to jump in, so that pictures are decoded in segments of an episode. A training
visits frames in an order made for it (:meth:`FrameCache.order`): segments of all episodes are shuffled and dealt into
pools, frames are shuffled within a pool. Each picture is then decoded once per pass, and the next pool while the
present one is trained on. NVIDIA's N1.7 loader shuffles "shards" for the same reason.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from ..utils.errors import ConfigurationError, first_line
from .clips import Clip

SEGMENT = 64
"""Most frames of a segment."""
POOL_SHARE = 0.4
"""Share of the memory that a pool takes: the present and the next are held, and what else is asked for."""
LEAST_SEGMENTS = 8
"""Fewest segments of all cameras that the memory must hold."""


class FrameCache:
    """Decoded segments, the last used ones, in bounded memory.

    Args:
        clips: Camera -> its clip of each episode.
        start: First frame of each episode, and F: int64 [E + 1].
        max_bytes: Most memory for decoded pictures. What threads work on is in it.
        workers: Threads that decode; as many as there are processors, at most 8, where None.

    Raises:
        ConfigurationError: ``max_bytes`` is too little to work with.
    """

    def __init__(
        self, clips: Mapping[str, Sequence[Clip]], start: Tensor, max_bytes: float, workers: int | None = None
    ):
        self._clips, self._start = clips, start
        lengths = start.diff()
        parts = (lengths + SEGMENT - 1) // SEGMENT
        self._episode = torch.repeat_interleave(torch.arange(len(lengths)), parts)  # of each segment
        within = torch.arange(int(parts.sum())) - torch.repeat_interleave(parts.cumsum(0) - parts, parts)
        self._begin = start[:-1][self._episode] + SEGMENT * within  # first frame of each segment
        self._frame_bytes = {key: 3 * c[0].size[0] * c[0].size[1] for key, c in clips.items()}
        self.max_bytes = max_bytes
        least = LEAST_SEGMENTS * SEGMENT * sum(self._frame_bytes.values())
        if max_bytes < least:
            raise ConfigurationError(
                f"--pictures_gb is {max_bytes / 1e9:g}, too little to decode pictures of this size as they are needed; "
                f"set {least / 1e9:.2g} or more"
            )
        self._held: OrderedDict[tuple[str, int], Future[Tensor]] = OrderedDict()
        self._bytes = 0
        self._pool = ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1), thread_name_prefix="decode")

    def close(self) -> None:
        """Stop the threads and forget all pictures."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._held.clear()
        self._bytes = 0

    def segments(self, frames: Tensor) -> Tensor:
        """Number of each frame's segment, int64 like ``frames``."""
        return torch.searchsorted(self._begin, frames, right=True) - 1

    @property
    def pool_frames(self) -> int:
        """Frames of a pool, about."""
        return max(1, int(POOL_SHARE * self.max_bytes / sum(self._frame_bytes.values())))

    def order(self, frames: Tensor, generator: torch.Generator) -> Tensor:
        """A random order in which a training can visit ``frames`` [F']: a permutation, int64 [F'].

        Args:
            frames: Numbers of frames.
            generator: Draws it.
        """
        numbers, segment, counts = self.segments(frames).unique(return_inverse=True, return_counts=True)
        shuffled = torch.randperm(len(numbers), generator=generator)
        pool = torch.empty_like(shuffled)
        pool[shuffled] = (counts[shuffled].cumsum(0) - 1) // self.pool_frames
        place = torch.rand(len(frames), generator=generator, dtype=torch.float64)
        return (pool[segment] + place).argsort()

    def prefetch(self, frames: Tensor) -> None:
        """Begin to decode what ``frames`` need, in their order, and keep it before all else; returns at once."""
        for segment in dict.fromkeys(self.segments(frames).tolist()):
            for key in self._clips:
                self._request(key, segment)

    def get(self, key: str, frames: Tensor) -> Tensor:
        """Pictures of a camera, uint8 [B, H, W, 3].

        Args:
            key: The camera.
            frames: Numbers of frames [B].

        Raises:
            ConfigurationError: A file cannot be read.
        """
        segments = self.segments(frames)
        pictures = torch.empty(len(frames), *self._clips[key][0].size, 3, dtype=torch.uint8)
        wanted = dict.fromkeys(segments.tolist())
        for segment in list(wanted)[: self._pool._max_workers]:
            self._request(key, segment)
        for segment in wanted:
            rows = segments == segment
            pictures[rows] = self._request(key, segment).result()[frames[rows] - self._begin[segment]]
        return pictures

    def _request(self, key: str, segment: int) -> Future[Tensor]:
        """The segment of a camera, being decoded or decoded, and now the last to be forgotten."""
        found = self._held.get((key, segment))
        if found is not None:
            self._held.move_to_end((key, segment))
            return found
        needed = self._size(key, segment)
        while self._held and self._bytes + needed > self.max_bytes:
            (oldest, number), future = self._held.popitem(last=False)
            future.cancel()
            self._bytes -= self._size(oldest, number)
        self._bytes += needed
        future = self._held[key, segment] = self._pool.submit(self._decode, key, segment)
        return future

    def _length(self, segment: int) -> int:
        """Frames of a segment."""
        end = self._start[self._episode[segment] + 1] - self._begin[segment]
        return min(SEGMENT, int(end))

    def _size(self, key: str, segment: int) -> int:
        return self._frame_bytes[key] * self._length(segment)

    def _decode(self, key: str, segment: int) -> Tensor:
        episode = int(self._episode[segment])
        clip = self._clips[key][episode]
        start = int(self._begin[segment] - self._start[episode])
        try:
            return clip.read(start, start + self._length(segment))
        except Exception as error:  # whatever PyAV, pyarrow and Pillow make of foreign bytes
            reason = first_line(error)
            raise ConfigurationError(f"{clip.path} cannot be read ({reason}); copy the dataset again") from None


class CachedView:
    """The pictures of one camera, uint8 [F, H, W, 3], as a tensor gives them: ``view[frames]``."""

    def __init__(self, cache: FrameCache, key: str, frames: int, size: tuple[int, int]):
        self.cache, self._key = cache, key
        self.shape = torch.Size((frames, *size, 3))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, frames: Tensor) -> Tensor:
        """Pictures of ``frames`` [B], uint8 [B, H, W, 3]."""
        return self.cache.get(self._key, frames)
