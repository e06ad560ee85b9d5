# SPDX-License-Identifier: BSD-3-Clause
"""Peak memory and speed of reading pictures: all in memory, and decoded as they are needed in bounded memory.

It writes a synthetic dataset in the LeRobot v3.0 layout (H.264, yuv420p, two cameras, several episodes per file), then
visits its frames in the batches of a training, each way in a process of its own:

    python source/standalone/benchmarks/large_dataset.py --episodes 8 --frames 200 --height 240 --width 320

"peak" is the most memory that the process had, with Python, torch and pyarrow, whose share "none" shows. Times are the
processor's, of all threads, so that other jobs on the machine do not count.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from gr00t_rl.data import Demonstrations
from gr00t_rl.sft.training import Batches

CAMERAS, FPS, PER_FILE = ("front", "wrist"), 20, 4


def write_video(path: Path, args: argparse.Namespace, frames: int, seed: int) -> None:
    """Smooth pictures that move, with some noise, as a camera gives them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    wide = np.kron(generator.integers(0, 256, (args.height // 16, 2 * args.width // 16, 3)), np.ones((16, 16, 1)))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = args.height, args.width, "yuv420p"
        stream.options = {"g": str(args.gop), "crf": "23", "preset": "ultrafast"}
        for number in range(frames):
            shift = number % args.width
            picture = wide[:, shift : shift + args.width] + generator.normal(0, 3, (args.height, args.width, 1))
            picture = picture.clip(0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())


def write_dataset(root: Path, args: argparse.Namespace) -> None:
    """A LeRobot v3.0 dataset of random states and actions."""
    length, generator = args.frames, np.random.default_rng(0)
    rows = []
    for number, first in enumerate(range(0, args.episodes, PER_FILE)):
        members = range(first, min(first + PER_FILE, args.episodes))
        count = length * len(members)
        table = {
            "observation.state": list(generator.normal(size=(count, 8)).astype(np.float32)),
            "action": list(generator.normal(size=(count, 7)).astype(np.float32)),
            "episode_index": np.repeat(list(members), length),
            "task_index": np.zeros(count, np.int64),
        }
        path = root / f"data/chunk-000/file-{number:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(table), path)
        for place, index in enumerate(members):
            row = {"episode_index": index, "length": length, "data/chunk_index": 0, "data/file_index": number}
            for camera in CAMERAS:
                key = f"videos/observation.images.{camera}"
                row |= {f"{key}/chunk_index": 0, f"{key}/file_index": number}
                row |= {f"{key}/from_timestamp": place * length / FPS}
            rows.append(row)
        for camera in CAMERAS:
            video = root / f"videos/observation.images.{camera}/chunk-000/file-{number:03d}.mp4"
            write_video(video, args, count, seed=number)
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), root / "meta/episodes/chunk-000/file-000.parquet")
    pq.write_table(pa.table({"task_index": [0], "task": ["Move."]}), root / "meta/tasks.parquet")
    picture = {"dtype": "video", "shape": [args.height, args.width, 3], "names": ["height", "width", "channels"]}
    features = {f"observation.images.{camera}": picture for camera in CAMERAS}
    features |= {name: {"dtype": "float32", "shape": [n]} for name, n in (("observation.state", 8), ("action", 7))}
    path = "chunk-{chunk_index:03d}/file-{file_index:03d}"
    info = {"codebase_version": "v3.0", "fps": FPS, "features": features, "data_path": f"data/{path}.parquet"}
    info["video_path"] = f"videos/{{video_key}}/{path}.mp4"
    keys: dict[str, Any] = {"state": {"arm": {"start": 0, "end": 8}}, "action": {"arm": {"start": 0, "end": 7}}}
    keys["video"] = {camera: {"original_key": f"observation.images.{camera}"} for camera in CAMERAS}
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/modality.json").write_text(json.dumps(keys))


def measure(root: Path, way: str, args: argparse.Namespace) -> dict[str, float]:
    """Processor seconds to load, frames of a processor second in ``--passes`` passes, and peak memory [GB]."""
    began = time.process_time()
    max_bytes = args.pictures_gb * 1e9 if way == "on demand" else float("inf")
    data = Demonstrations.load([root], max_bytes=max_bytes, cameras=() if way == "none" else None)
    loaded, seen = time.process_time(), 0
    batches = Batches(torch.arange(len(data)), args.batch_size, torch.Generator().manual_seed(0), data.cache)
    for _ in range(args.passes * len(data) // args.batch_size):
        frames = batches.next()
        pictures = [view[frames] for view in data.pictures.values()]
        seen += len(frames) if pictures else 0
    seconds = time.process_time() - loaded
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"load_s": loaded - began, "frames_per_s": seen / seconds if seen else 0.0, "peak_gb": peak}


def main() -> None:
    """Write the dataset, measure each way, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("episodes", 8), ("frames", 200), ("height", 240), ("width", 320), ("gop", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--passes", type=int, default=2, help="passes over all frames")
    parser.add_argument("--pictures_gb", type=float, default=0.25, help="bound of the way 'on demand'")
    parser.add_argument("--measure", nargs=2, metavar=("ROOT", "WAY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(Path(args.measure[0]), args.measure[1], args)))
        return
    raw = args.episodes * args.frames * len(CAMERAS) * args.height * args.width * 3 / 1e9
    with tempfile.TemporaryDirectory(prefix="gr00t_rl_large_") as folder:
        write_dataset(Path(folder), args)
        disk = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / 1e9
        print(
            f"{args.episodes} episodes, {args.episodes * args.frames} frames of {len(CAMERAS)} cameras of "
            f"{args.height} x {args.width}, a key frame every {args.gop}: {raw:.2f} GB, on disk {disk:.2f} GB"
        )
        for way in ("none", "in memory", "on demand"):
            command = [sys.executable, __file__, *sys.argv[1:], "--measure", folder, way]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(
                f"{way:10} load {found['load_s']:6.1f} CPU s  {found['frames_per_s']:7.0f} frames per CPU s  peak "
                f"{found['peak_gb']:.2f} GB"
            )


if __name__ == "__main__":
    main()
