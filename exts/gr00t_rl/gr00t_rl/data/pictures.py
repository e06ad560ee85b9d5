# SPDX-License-Identifier: BSD-3-Clause
"""Pictures on disk, without loss: PNG files, and H.264 in RGB.

The usual video (yuv420p) halves the colour resolution and moves single pixels of a 64 x 64 picture by up to 74 of 255;
``libx264rgb`` at quantiser 0 gives back every bit, in files smaller than PNG, and FFmpeg-based readers (decord, PyAV,
torchvision, torchcodec) play it.
"""

from __future__ import annotations

import functools
import io
import math
import mmap
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from av.container import InputContainer
from PIL import Image

from ..utils.foreign_files import check_regular

FORMATS = ("mp4", "png")
MAX_DENOMINATOR = 1001
"""Of a video's rate as a fraction, so that frame t is shown at t / fps: 100/3 per second, or film's 30000/1001."""


def encode_video(pictures: torch.Tensor, fps: float) -> bytes:
    """An mp4 file of uint8 pictures [T, H, W, 3] on the CPU; frame t is shown at t / fps."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264rgb", rate=Fraction(fps).limit_denominator(MAX_DENOMINATOR))
        stream.height, stream.width, stream.pix_fmt = pictures.shape[1], pictures.shape[2], "rgb24"
        stream.options = {"qp": "0", "preset": "veryfast"}
        stream.thread_count = 1  # pictures are small, and the simulation wants the cores
        for picture in pictures.numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def _opened(path: Path) -> InputContainer:
    """A file to read pictures from. Raises OSError or ValueError (of PyAV) where it is none."""
    check_regular(path)
    return av.open(str(path))


def decode_video(path: Path) -> torch.Tensor:
    """All frames of a video, uint8 [T, H, W, 3]. Raises OSError or ValueError (of PyAV) for a broken file."""
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    if not pictures:
        raise ValueError(f"{path.name} holds no picture")
    return torch.from_numpy(np.stack(pictures))


def stored_frames(path: Path) -> int:
    """How many pictures a video holds, as its header says, or counted where it does not."""
    with _opened(path) as container:
        frames = container.streams.video[0].frames
    return frames or len(picture_times(path)[0])


def stored_rate(path: Path) -> float | None:
    """Pictures per second on average, as a video's header says; None where it does not."""
    with _opened(path) as container:
        rate = container.streams.video[0].average_rate
    return float(rate) if rate else None


@functools.lru_cache(maxsize=4096)
def picture_times(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """When a video's pictures are shown, in order: int64 in the stream's own units, and float64 [s].

    The file is read for it, but nothing decoded. Raises OSError or ValueError (of PyAV) for a broken file.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        stamps = [p.pts for p in container.demux(stream) if p.pts is not None and not p.is_discard]
        base = float(stream.time_base or 0)
    ordered = np.sort(np.array(stamps, dtype=np.int64))
    return ordered, ordered * base


def decode_part(path: Path, start: int, stop: int) -> torch.Tensor:
    """Pictures ``start`` to ``stop`` - 1 of a video, uint8 [stop - start, H, W, 3], decoded from the last key frame on.

    Raises:
        OSError, ValueError: A broken file (of PyAV), or one that does not give these pictures.
    """
    stamps = picture_times(path)[0]
    if not 0 <= start < stop <= len(stamps):
        raise ValueError(f"{path.name} holds {len(stamps)} pictures, number {stop - 1} is wanted")
    # pictures may be stored in another order than shown: a key frame just before may come too late
    count, found = stop - start, 0
    for place in dict.fromkeys((start, max(0, start - 32), 0)):
        seek = int(stamps[place]) if place else None
        pictures, found = _decode_from(path, seek, int(stamps[start]), int(stamps[stop - 1]), count)
        if pictures is not None and found == count:
            return pictures
    raise ValueError(f"{path.name} gives {found} of the {count} pictures from number {start} on")


def _decode_from(path: Path, seek: int | None, first: int, last: int, count: int) -> tuple[torch.Tensor | None, int]:
    """The pictures shown from ``first`` to ``last``, at most ``count``, and how many there are.

    They are decoded from the key frame at or before ``seek``; times are in the stream's units.
    """
    pictures, found = None, 0
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        if seek is not None:
            container.seek(seek, stream=stream, backward=True)
        for frame in container.decode(stream):
            if frame.pts is not None and frame.pts > last:
                break
            if frame.pts is not None and frame.pts >= first:
                picture = torch.from_numpy(frame.to_ndarray(format="rgb24"))
                if pictures is None:  # written in place: a second copy of all would double the memory
                    pictures = _pages((count, *picture.shape))
                if found < count:
                    pictures[found] = picture
                found += 1
    return pictures, found


def _pages(shape: tuple[int, ...]) -> torch.Tensor:
    """uint8 zeros in pages of their own, which go back to the system at once when the tensor is dropped.

    An allocator keeps what threads free, in pieces: a cache that is emptied and filled takes twice its size.
    """
    return torch.frombuffer(mmap.mmap(-1, math.prod(shape)), dtype=torch.uint8).view(shape)


def encode_png(picture: torch.Tensor) -> bytes:
    """A PNG file of one uint8 picture [H, W, 3] on the CPU."""
    buffer = io.BytesIO()
    Image.fromarray(picture.numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def decode_png(content: bytes) -> torch.Tensor:
    """A uint8 picture [H, W, 3]. Raises OSError for bytes that are no picture."""
    with Image.open(io.BytesIO(content)) as image:
        return torch.from_numpy(np.array(image.convert("RGB")))
