# SPDX-License-Identifier: BSD-3-Clause
"""Compare what `gr00t-rl estimate` says with what training really takes: the peak of the process's resident memory.

    python source/standalone/benchmarks/memory_estimate.py --out docs/results/memory_estimate.json
    python source/standalone/benchmarks/memory_estimate.py --only full

Each case is two iterations of `gr00t-rl train` on the CPU in a process of its own, with a random checkpoint of the
case's size. Cases named ``beside`` have a tiny network and tell what the process and the simulator take: the difference
between what was measured and the estimated tensors is what :data:`gr00t_rl.memory.devices.BESIDE` holds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from records import add_run, read_study

MIB = 2**20
RUN = [sys.executable, "-W", "ignore", "-m", "gr00t_rl"]
STATE, CAMERA = "Gr00t-Push-Cube-Franka", "Gr00t-Push-Cube-Franka-Camera"
SHORT = ["agent.num_steps_per_env=16", "agent.algorithm.num_learning_epochs=1", "--device", "cpu"]
SHORT += ["agent.algorithm.num_mini_batches=2"]
"""Two decisions of each env an iteration, and two steps of the optimiser; in the first iteration the critic's alone."""
MIDDLE = "--vision_hidden_size 384 --vision_layers 12 --vision_heads 6 --text_hidden_size 512 --text_layers 6"
MIDDLE += " --text_heads 8 --text_kv_heads 4 --input_embedding_dim 768 --hidden_size 512 --dit_layers 12 --dit_heads 12"
MIDDLE += " --vl_layers 2 --vl_heads 8 --image_size 224 --patch_size 14"
ON_MIDDLE = ["--task", CAMERA, "--num_envs", "16", "env.camera_size=224"]


class Case(NamedTuple):
    """One run."""

    name: str
    checkpoint: Sequence[str] | None
    """Options of make-checkpoint; None for the small network of the task."""
    run: list[str]
    """Options and overrides of train."""


CASES = [
    Case("beside, state, 2 envs", None, ["--task", STATE, "--num_envs", "2"]),
    Case("beside, state, 1024 envs", None, ["--task", STATE, "--num_envs", "1024"]),
    Case("beside, two cameras of 64², 2 envs", None, ["--task", CAMERA, "--num_envs", "2"]),
    Case("beside, two cameras of 64², 64 envs", None, ["--task", CAMERA, "--num_envs", "64"]),
    Case("beside, two cameras of 224², 16 envs", None, ["--task", CAMERA, "--num_envs", "16", "env.camera_size=224"]),
    Case("tiny", None, ["--task", CAMERA, "--num_envs", "32"]),
    Case("middle", MIDDLE.split(), ON_MIDDLE),
    Case("middle, gradient checkpointing", MIDDLE.split(), [*ON_MIDDLE, "agent.actor.gradient_checkpointing=true"]),
    Case(
        "middle, bfloat16, features again",
        MIDDLE.split(),
        [*ON_MIDDLE, "agent.actor.dtype=bfloat16", "agent.actor.feature_cache=pixels"],
    ),
    Case(
        "full, bfloat16",
        ["--full-size", "--dtype", "bfloat16"],
        ["--task", CAMERA, "--num_envs", "2", "env.camera_size=224", "agent.actor.dtype=bfloat16"],
    ),
]


def measure(case: Case, folder: Path, measured: float | None) -> dict[str, Any]:
    """Return the estimate and the measured peak of a case, in MiB; without running it if the peak is given."""
    settings = [*case.run, *SHORT]
    if case.checkpoint is not None:
        weights = folder / case.name.split(",")[0]
        if not weights.exists():
            command = [*RUN, "make-checkpoint", "--out", str(weights), *case.checkpoint]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        settings.append(f"agent.actor.checkpoint={weights}")
    out = folder / "estimate.json"
    subprocess.run([*RUN, "estimate", *settings, "--json", str(out)], check=True, stdout=subprocess.DEVNULL)
    told = json.loads(out.read_text())
    if measured is None:
        measured = peak_of([*RUN, "train", *settings, "--max_iterations", "2"], folder)
    beside = told["parts"]["process"] + told["parts"]["simulator and cameras"]
    peak = told["peak"] / MIB
    return {
        "estimate": round(peak, 1),
        "measured": round(measured, 1),
        "error": round(peak / measured - 1, 4),
        "phases": {name: round(size / MIB, 1) for name, size in told["phases"].items()},
        "parts": {name: round(size / MIB, 1) for name, size in told["parts"].items()},
        "beside": round(measured - (told["peak"] - beside) / MIB, 1),
    }


def peak_of(command: list[str], folder: Path) -> float:
    """Run a command and return its peak resident memory, in MiB."""
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)}: {(folder / 'log.txt').read_text()[-2000:]}")
    return usage.ru_maxrss / 1024


def main() -> None:
    """Print a line for each case, and write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT", help="only cases whose name begins so")
    parser.add_argument("--out", type=Path, help="file for the figures; cases that are not run stay in it")
    parser.add_argument("--estimate", action="store_true", help="estimate anew, and keep what --out has of the peaks")
    args = parser.parse_args()
    found = read_study(args.out) if args.out else {}
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if not any(case.name.startswith(text) for text in args.only):
                continue
            row = measure(case, Path(folder), found[case.name]["measured"] if args.estimate else None)
            print(
                f"{case.name:40} estimate {row['estimate']:9.1f} MiB, measured {row['measured']:9.1f} MiB "
                f"({row['error']:+.1%}); beside the tensors {row['beside']:.1f} MiB",
                flush=True,
            )
            if args.out:
                add_run(args.out, case.name, row)


if __name__ == "__main__":
    main()
