# SPDX-License-Identifier: BSD-3-Clause
"""How far RL lifts a base policy: train, evaluate before and after, draw.

    python source/standalone/benchmarks/finetune_lift.py --task Gr00t-Push-Cube-Franka --iterations 120 --seeds 1 2 3 \
        --out docs/results/lift.json --plot docs/images/lift.png

Each seed is one call of ``gr00t-rl train`` and four of ``gr00t-rl evaluate``: base and trained policy, with the
initial noise as trained (``init_noise_scale`` 1) and without it (0; left out with ``--init_noise 1``). What is
recorded is added to the study file ``--out`` as ``<task>_<agent>_seed<seed>``, and of the base, evaluated once for
all seeds, as ``<task>_<agent>_base``; what is in it is not made again. ``--run DIR ...`` takes a finished run of the
one ``--seeds`` and the runs that continued it, in order, instead of training, as it was at ``--iterations`` if it
went on longer and has a checkpoint there.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from learning_curves import curve_of
from records import add_run, read_study

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

SCALES = ("1", "0")
SHARE = ("success_rate", "success_ci95", "num_episodes")
KEPT = (*SHARE, "mean_return", "mean_length", "seed")
WARM_UP = 4
"""Iterations not drawn: before an episode's full length has passed, only those that succeeded early have ended."""


def call(command: list[str], folder: Path) -> None:
    """Run a program of this repository in ``folder``; ends with its last words if it fails."""
    with open(folder / "log.txt", "w") as log:
        result = subprocess.run([sys.executable, *command], cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{(folder / 'log.txt').read_text()[-2000:]}")


def train(args: argparse.Namespace, seed: int, iterations: int, overrides: Sequence[str], folder: Path) -> Path:
    """Train once in ``folder`` and return that of the run."""
    command = ["-m", "gr00t_rl", "train", "--device", "cpu", "--task", args.task]
    command += ["--agent", args.agent, "--seed", str(seed), "--max_iterations", str(iterations)]
    command += ["--processes", str(args.processes)] if args.processes > 1 else []
    call([*command, *overrides], folder)
    return next(folder.rglob("events.out.tfevents*")).parent


def evaluate(
    args: argparse.Namespace, checkpoint: str, scale: str, folder: Path, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Evaluate "base" or a run's file, and return the headline numbers."""
    command = ["-m", "gr00t_rl", "evaluate", "--task", args.task, "--agent", args.agent]
    command += ["--checkpoint", checkpoint, "--num_episodes", str(args.episodes), "--num_envs", str(args.eval_envs)]
    command += ["--device", "cpu", "--report", "none", "--json", str(folder / "result.json")]
    call([*command, *overrides, f"agent.actor.init_noise_scale={scale}", *args.overrides], folder)
    return headline(json.loads((folder / "result.json").read_text()))


def headline(result: dict[str, Any]) -> dict[str, Any]:
    """What is kept of an evaluation: of all episodes, and of each instruction where each is a task of its own."""
    kept = {key: result[key] for key in KEPT}
    if named := result.get("instructions"):
        kept["instructions"] = {name: {key: found[key] for key in SHARE} for name, found in named.items()}
    return kept


def last_checkpoint(run: Path, iterations: int) -> tuple[Path, int]:
    """The newest ``model_N.pt`` of a run's first ``iterations`` (and one), and its N."""
    # model_best.pt, too, lies there
    numbers = [int(found[1]) for file in run.iterdir() if (found := re.fullmatch(r"model_(\d+)\.pt", file.name))]
    newest = max((number for number in numbers if number <= iterations), default=None)
    if newest is None:
        raise SystemExit(f"error: {run} has no model_N.pt with N up to {iterations}; name another run, or --iterations")
    return run / f"model_{newest}.pt", newest


def join_curves(runs: list[Path], last: int, instructions: Sequence[str] = ()) -> dict[str, list[float]]:
    """The curve of a run and of those that continued it, up to iteration ``last``; also of each of ``instructions``.

    What a run did after the checkpoint that was continued is left out, and so is the success of a continuation's first
    iterations, in which only quick successes have ended. Time and env steps go on counting.
    """
    parts = [curve_of(run, instructions) for run in runs]
    ends = [part["iteration"][0] for part in parts[1:]] + [last + 1]
    joined: dict[str, list[float]] = {name: [] for name in parts[0]}
    for part, end in zip(parts, ends, strict=True):
        length = sum(number < end for number in part["iteration"])
        if joined["iteration"]:
            for name in part:
                if name.startswith("success_rate"):
                    part[name][:WARM_UP] = [float("nan")] * WARM_UP
        for name, values in part.items():
            offset = joined[name][-1] if name in ("seconds", "env_steps") and joined[name] else 0
            joined[name] += [offset + value for value in values[:length]]
    return joined


def stem(args: argparse.Namespace) -> str:
    """Begin of the records' names."""
    return f"{args.task}_{args.agent.removeprefix('rsl_rl_').removesuffix('cfg_entry_point').strip('_') or 'ppo'}"


def make(args: argparse.Namespace, seed: int) -> None:
    """Train and evaluate one seed."""
    record_name, base_name = f"{stem(args)}_seed{seed}", f"{stem(args)}_base"
    study = read_study(args.out)
    if record_name in study:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if base_name not in study:
            base = {f"init_noise_{scale}": evaluate(args, "base", scale, folder) for scale in args.init_noise}
            add_run(args.out, base_name, base)
        runs = [run.resolve() for run in args.run]
        if not runs:
            runs = [train(args, seed, args.iterations, [*args.overrides, *args.train_overrides], folder)]
        checkpoint, last = last_checkpoint(runs[-1], args.iterations)
        after = {f"init_noise_{scale}": evaluate(args, str(checkpoint), scale, folder) for scale in args.init_noise}
        curve = join_curves(runs, last, instructions_of(after))
    record = {"task": args.task, "agent": args.agent, "seed": seed, "iterations": len(curve["seconds"])}
    record |= {
        "processes": args.processes,
        "overrides": args.overrides,
        "train_overrides": args.train_overrides,
        "after": after,
        "curve": curve,
    }
    add_run(args.out, record_name, record)


def records(args: argparse.Namespace) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The base's evaluation and the records of all seeds."""
    study = read_study(args.out)
    return study[f"{stem(args)}_base"], [study[f"{stem(args)}_seed{seed}"] for seed in args.seeds]


def share(result: dict[str, Any]) -> str:
    """A success rate with its interval, in percent."""
    low, high = (100 * bound for bound in result["success_ci95"])
    return f"{100 * result['success_rate']:.1f} % [{low:.1f}, {high:.1f}]"


def report(args: argparse.Namespace) -> None:
    """Print a table for the documents."""
    base, runs = records(args)
    print(f"{args.task}, {base['init_noise_1']['num_episodes']} episodes, 95 % Wilson intervals")
    columns = " | ".join(f"initial noise {scale}" for scale in args.init_noise)
    print(f"| | minutes | env steps | {columns} |\n|---|---|---|{'---|' * len(args.init_noise)}")
    print(f"| base | | | {' | '.join(share(base[f'init_noise_{scale}']) for scale in args.init_noise)} |")
    for run in runs:
        minutes, steps = run["curve"]["seconds"][-1] / 60, run["curve"]["env_steps"][-1]
        shares = " | ".join(share(run["after"][f"init_noise_{scale}"]) for scale in args.init_noise)
        print(f"| seed {run['seed']} | {minutes:.1f} | {steps / 1e6:.2f} M | {shares} |")


def instructions_of(evaluations: dict[str, Any]) -> list[str]:
    """Short names of the instructions that were evaluated apart; empty where there is one task."""
    return list(next(iter(evaluations.values())).get("instructions", {}))


def lines_of(
    base: dict[str, Any], run: dict[str, Any]
) -> Iterator[tuple[str, list[float], dict[str, Any], dict[str, Any]]]:
    """Name, curve and both evaluations of a run, or of each of its instructions."""
    before, after = base["init_noise_1"], run["after"]["init_noise_1"]
    names = instructions_of(run["after"])
    if not names:
        yield f"seed {run['seed']}", run["curve"]["success_rate"], before, after
    for name in names:
        curve = run["curve"][f"success_rate/{name}"]
        yield f"{name}, seed {run['seed']}", curve, before["instructions"][name], after["instructions"][name]


STYLES = ("-", "--", ":")


def draw(axis: Axes, base: dict[str, Any], runs: list[dict[str, Any]]) -> None:
    """Draw success over minutes: training's episodes (with exploration noise) and both evaluations.

    Each run has a colour; where instructions are drawn apart each of them has one, and each run a line style.
    """
    apart = any(instructions_of(run["after"]) for run in runs)
    for number, run in enumerate(runs):
        minutes = [second / 60 for second in run["curve"]["seconds"]]
        for part, (label, curve, *evaluations) in enumerate(lines_of(base, run)):
            colour, style = f"C{part if apart else number}", STYLES[number % len(STYLES)] if apart else "-"
            (line,) = axis.plot(minutes[WARM_UP:], curve[WARM_UP:], style, color=colour, label=label)
            for minute, result in zip((0.0, minutes[-1]), evaluations, strict=True):
                low, high = result["success_ci95"]
                rate = result["success_rate"]
                axis.errorbar(minute, rate, [[rate - low], [high - rate]], fmt="o", color=line.get_color(), capsize=3)
    axis.set(xlabel="minutes of training on a 2-core CPU", ylabel="success rate", ylim=(-0.02, 1.02))
    axis.plot([], [], "ko", label=f"evaluation, {base['init_noise_1']['num_episodes']} episodes")
    axis.grid(alpha=0.3)
    if apart:  # too many names to stand among the lines
        axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    else:
        axis.legend(fontsize=8, loc="best")


def plot(args: argparse.Namespace) -> None:
    """Draw the runs of one task."""
    figure, axis = plt.subplots(figsize=(7.5, 4), constrained_layout=True)
    draw(axis, *records(args))
    axis.set_title(args.task)
    args.plot.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.plot, dpi=120)


def main() -> None:
    """Make what is missing, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True)
    parser.add_argument("--agent", default="rsl_rl_cfg_entry_point")
    parser.add_argument("--iterations", type=int, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--episodes", type=int, default=512)
    parser.add_argument("--processes", type=int, default=1, help="processes of one training (default 1)")
    parser.add_argument("--eval_envs", type=int, default=256)
    parser.add_argument("--init_noise", nargs="+", choices=SCALES, default=SCALES, help="evaluate with these scales")
    parser.add_argument("--run", type=Path, nargs="+", default=[], help="folders of a run of the one seed, in parts")
    parser.add_argument("--train_overrides", nargs="*", default=[], help="Hydra overrides of the training alone")
    parser.add_argument("--out", type=Path, required=True, help="study file, such as docs/results/lift.json")
    parser.add_argument("--plot", type=Path, help="picture to draw")
    args, args.overrides = parser.parse_known_args()
    if "1" not in args.init_noise:
        parser.error("--init_noise: give 1, the scale that policies are trained with, or 1 0")
    if args.run and len(args.seeds) != 1:
        parser.error("--run is one run: give its seed with --seeds")
    for seed in args.seeds:
        make(args, seed)
    report(args)
    if args.plot:
        plot(args)


if __name__ == "__main__":
    main()
