# SPDX-License-Identifier: BSD-3-Clause
"""Pictures on disk, without loss: PNG files, and H.264 in RGB.

The usual video (yuv420p) halves the colour resolution and moves single pixels of a 64 x 64 picture by up to 74 of 255;
``libx264rgb`` at quantiser 0 gives back every bit, in files smaller than PNG, and FFmpeg-based readers (decord, PyAV,
torchvision, torchcodec) play it.
"""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

FORMATS = ("mp4", "png")


def encode_video(pictures: torch.Tensor, fps: float) -> bytes:
    """An mp4 file of uint8 pictures [T, H, W, 3] on the CPU; frame t is shown at t / fps."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264rgb", rate=round(fps))
        stream.height, stream.width, stream.pix_fmt = pictures.shape[1], pictures.shape[2], "rgb24"
        stream.options = {"qp": "0", "preset": "veryfast"}
        stream.thread_count = 1  # pictures are small, and the simulation wants the cores
        for picture in pictures.numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def decode_video(path: Path) -> torch.Tensor:
    """All frames of a video, uint8 [T, H, W, 3]. Raises OSError or ValueError (of PyAV) for a broken file."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        return torch.from_numpy(np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]))


def encode_png(picture: torch.Tensor) -> bytes:
    """A PNG file of one uint8 picture [H, W, 3] on the CPU."""
    buffer = io.BytesIO()
    Image.fromarray(picture.numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def decode_png(content: bytes) -> torch.Tensor:
    """A uint8 picture [H, W, 3]. Raises OSError for bytes that are no picture."""
    with Image.open(io.BytesIO(content)) as image:
        return torch.from_numpy(np.array(image.convert("RGB")))
