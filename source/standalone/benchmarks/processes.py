# SPDX-License-Identifier: BSD-3-Clause
"""Env steps per second of several processes that train together, against one process, in the real simulator.

    python source/standalone/benchmarks/processes.py --task Gr00t-Push-Cube-Franka --out docs/results/processes.json

A pair is two calls of ``gr00t-rl train`` with the same settings, one after the other, the first being that of one
process in every other pair. ``--num_envs`` counts per process, so that the second run has as many times the envs. Speed
is all env steps over all time of collecting and learning, without the first iterations, in which memory is allocated
and kernels are loaded. What counts is the median over pairs of the ratio. How busy the machine was (load average over
the last minute of a run, which is the number of processes that wanted a core) is kept with the figures: a busy one
shows nothing. The record's name is made of the settings.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from records import add_run

from gr00t_rl.utils.event_files import read_curves

SETTLED = 2
"""Iterations at the beginning that are not counted."""


def train(args: argparse.Namespace, processes: int, folder: Path) -> dict[str, float]:
    """Train once in ``folder``; return the speed and how busy the machine was."""
    folder.mkdir()
    command = [sys.executable, "-m", "gr00t_rl", "train", "--device", "cpu", "--processes", str(processes)]
    command += ["--task", args.task, "--agent", args.agent, "--max_iterations", str(SETTLED + args.iterations)]
    command += ["--num_envs", str(args.num_envs)] if args.num_envs else []
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(folder / "log.txt", "w") as log:
        done = subprocess.run(
            [*command, *args.overrides], cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT, check=False
        )
    load = os.getloadavg()[0]
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{(folder / 'log.txt').read_text()[-2000:]}")
    curves = read_curves(next(folder.rglob("events.out.tfevents*")).parent, {})
    steps = curves.env_steps[-1] - curves.env_steps[SETTLED - 1]
    seconds = curves.seconds[-1] - curves.seconds[SETTLED - 1]
    return {"env_steps_per_s": round(float(steps / seconds), 1), "load": round(load, 1)}


def compare(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train in pairs; return the figures."""
    counts = (1, args.processes)
    runs: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    for pair in range(args.pairs):
        for count in counts if pair % 2 == 0 else reversed(counts):
            runs[count].append(train(args, count, folder / f"{pair}_{count}"))
            print(f"pair {pair + 1}, {count} processes: {runs[count][-1]}", flush=True)
    ratios = [b["env_steps_per_s"] / a["env_steps_per_s"] for a, b in zip(*runs.values(), strict=True)]
    return {
        "processes": args.processes,
        "cores": len(os.sched_getaffinity(0)),
        "one": runs[1],
        "together": runs[args.processes],
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio": round(statistics.median(ratios), 3),
    }


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True)
    parser.add_argument("--agent", default="rsl_rl_cfg_entry_point")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--num_envs", type=int, help="envs per process (default: the task's)")
    parser.add_argument("--iterations", type=int, default=5, help="iterations that count")
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="study file, such as docs/results/processes.json")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides")
    return parser


def main() -> None:
    """Compare, print, and write the figures."""
    args = build_parser().parse_intermixed_args()
    with tempfile.TemporaryDirectory(prefix="gr00t_rl_benchmark_") as folder:
        result = compare(args, Path(folder))
    speed = {name: [run["env_steps_per_s"] for run in result[name]] for name in ("one", "together")}
    print(f"env steps per second: one process {speed['one']}, {args.processes} processes {speed['together']}")
    print(f"ratio {result['ratio']} (pairs: {result['ratios']}) on {result['cores']} cores")
    if args.out:
        settings = {k: v for k, v in vars(args).items() if k != "out"}
        content = {"date": str(date.today()), "machine": platform.machine(), "settings": settings, **result}
        envs = args.num_envs or "default"
        add_run(args.out, f"{args.task}_{args.agent}_envs_{envs}_processes_{args.processes}", content)


if __name__ == "__main__":
    main()
