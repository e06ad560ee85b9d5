# SPDX-License-Identifier: BSD-3-Clause
"""Train tasks with several seeds through Isaac Lab's own ``train``, and draw return and success over time.

    python source/standalone/benchmarks/learning_curves.py --out docs/results/reach.json \
        --run Gr00t-Reach-Franka:rsl_rl_cfg_entry_point:60 --seeds 1 2 3 --plot docs/images/reach.png

A run is ``TASK:AGENT:ITERATIONS``, then Hydra overrides, comma separated, if any. Each run's curve is added to the
study file ``--out`` as ``<task>_<agent>_seed<seed>``; runs that are in it are not repeated, so that an interrupted call
goes on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from records import add_run, read_study

matplotlib.use("Agg")
import matplotlib.pyplot as plt

WARM_UP = 2
"""Iterations left out: before an episode's full length has passed, only those that succeeded early have ended."""

TAGS = {"return": "charts/episodic_return", "success_rate": "charts/success_rate"}


@dataclass(frozen=True)
class Run:
    """One task with one agent."""

    task: str
    agent: str
    iterations: int
    overrides: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Run:
        """Read ``TASK:AGENT:ITERATIONS[:override,override]``."""
        task, agent, iterations, *rest = text.split(":", 3)
        return cls(task, agent, int(iterations), tuple(rest[0].split(",")) if rest else ())

    @property
    def name(self) -> str:
        """Label, and begin of the names of its records."""
        return f"{self.task}_{self.agent.removeprefix('rsl_rl_').removesuffix('cfg_entry_point').strip('_') or 'gr00t'}"


def train(run: Run, seed: int, out: Path) -> None:
    """Train once and add the curve to the study ``out``, unless it is there."""
    name = f"{run.name}_seed{seed}"
    if name in read_study(out):
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "isaaclab", "train", "--rl_library", "rsl_rl", "--device", "cpu"),
            *("--task", run.task, "--agent", run.agent, "--seed", str(seed), "--max_iterations", str(run.iterations)),
            *run.overrides,
        ]
        with open(Path(folder) / "log.txt", "w") as log:
            result = subprocess.run(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        if result.returncode != 0:
            raise SystemExit(f"{' '.join(command)} failed:\n{(Path(folder) / 'log.txt').read_text()[-2000:]}")
        events = next(Path(folder).rglob("events.out.tfevents*"))
        curve = curve_of(events.parent)
    add_run(out, name, {"command": command[1:], "seed": seed, **curve})


def curve_of(folder: Path, instructions: Sequence[str] = ()) -> dict[str, list[float]]:
    """What is recorded of a run: per iteration its number, wall seconds since the first, env steps and the metrics.

    The success of each of ``instructions``, by their short names, is one more.
    """
    from gr00t_rl.utils.event_files import read_curves  # loads torch, which drawing from records does without

    success = TAGS["success_rate"]
    curves = read_curves(folder, TAGS | {f"success_rate/{name}": f"{success}/{name}" for name in instructions})
    return {
        "iteration": curves.iterations.tolist(),
        "seconds": curves.seconds.round(1).tolist(),
        "env_steps": curves.env_steps.round().tolist(),
        **{name: values.round(4).tolist() for name, values in curves.values.items()},
    }


def plot(runs: list[Run], seeds: list[int], out: Path, image: Path) -> None:
    """Draw the mean over seeds, and their range, of return and success over wall time."""
    study = read_study(out)
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), constrained_layout=True)
    for run in runs:
        curves = [study[f"{run.name}_seed{seed}"] for seed in seeds]
        length = min(len(c["seconds"]) for c in curves)
        minutes = np.mean([c["seconds"][WARM_UP:length] for c in curves], axis=0) / 60
        for axis, metric in zip(axes, TAGS, strict=True):
            values = np.array([c[metric][WARM_UP:length] for c in curves], dtype=float)
            (line,) = axis.plot(minutes, values.mean(0), label=run.name)
            axis.fill_between(minutes, values.min(0), values.max(0), alpha=0.2, color=line.get_color(), linewidth=0)
    for axis, title in zip(axes, ("episodic return", "success rate"), strict=True):
        axis.set(xlabel="minutes of training", ylabel=title)
        axis.grid(alpha=0.3)
    axes[1].set_ylim(-0.02, 1.02)
    axes[1].legend(fontsize=8)
    figure.suptitle(f"mean and range of {len(seeds)} seeds, 2-core CPU", fontsize=10)
    image.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(image, dpi=120)


def report(runs: list[Run], seeds: list[int], out: Path) -> None:
    """Print first and last returns and the final success of each seed."""
    study = read_study(out)
    print(f"{'run':44s} seed   return first→last   success last   minutes")
    for run in runs:
        for seed in seeds:
            c = study[f"{run.name}_seed{seed}"]
            returns = c["return"][WARM_UP:]
            first, last = np.mean(returns[:3]), np.mean(returns[-3:])
            minutes = c["seconds"][-1] / 60
            success = c["success_rate"][-1]
            print(f"{run.name:44s} {seed:4d}   {first:6.2f} → {last:5.2f}       {success:6.3f}     {minutes:6.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="append", required=True, help="TASK:AGENT:ITERATIONS[:override,override]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, required=True, help="study file, such as docs/results/reach.json")
    parser.add_argument("--plot", type=Path, help="picture to draw")
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side")
    args = parser.parse_args()
    runs = [Run.parse(text) for text in args.run]
    with ThreadPoolExecutor(args.jobs) as pool:
        jobs = [pool.submit(train, run, seed, args.out) for seed in args.seeds for run in runs]
        for job in jobs:
            job.result()
    report(runs, args.seeds, args.out)
    if args.plot:
        plot(runs, args.seeds, args.out, args.plot)


if __name__ == "__main__":
    main()
