# SPDX-License-Identifier: BSD-3-Clause
"""Draw what ``finetune_lift.py`` recorded, one panel per task, and print one table of all of them.

python source/standalone/benchmarks/draw_lift.py docs/results/lift_2_cores.json --plot docs/images/lift_2_cores.png
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune_lift import draw, plt, share
from records import read_study

COLUMNS = 3


def panels(study: Mapping[str, Any], tasks: list[str]) -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The base's evaluation and the runs of each task, in the order of their seeds.

    Args:
        study: Records by name.
        tasks: The tasks to draw; all of the study where empty.

    Raises:
        SystemExit: If a task has no record.
    """
    runs = [record for name, record in study.items() if "curve" in record and "_ppo_seed" in name]
    tasks = tasks or list(dict.fromkeys(run["task"] for run in runs))
    found = {}
    for task in tasks:
        of_task = sorted((run for run in runs if run["task"] == task), key=lambda run: run["seed"])
        if not of_task or f"{task}_ppo_base" not in study:
            raise SystemExit(f"error: no runs of {task} and its base; there are {', '.join(sorted(study)) or 'none'}")
        found[task] = (study[f"{task}_ppo_base"], of_task)
    return found


def table(found: Mapping[str, tuple[dict[str, Any], list[dict[str, Any]]]]) -> str:
    """All runs as rows, with one more for each instruction that is a task of its own."""
    lines = [
        "| task | seed | iterations | minutes | env steps | success before | after |",
        "|---|---|---|---|---|---|---|",
    ]
    for task, (base, runs) in found.items():
        for run in runs:
            curve = run["curve"]
            cells = [f"`{task}`", run["seed"], run["iterations"], f"{curve['seconds'][-1] / 60:.1f}"]
            cells += [f"{curve['env_steps'][-1] / 1e6:.2f} M"]
            both = [results["init_noise_1"] for results in (base, run["after"])]
            lines.append(f"| {' | '.join(map(str, [*cells, *map(share, both)]))} |")
            for name in both[1].get("instructions", {}):
                shares = " | ".join(share(result["instructions"][name]) for result in both)
                lines.append(f"| {name} | | | | | {shares} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="file that finetune_lift.py wrote")
    parser.add_argument("--task", nargs="+", default=[], help="tasks to draw (default: all)")
    parser.add_argument("--plot", type=Path, help="picture to draw")
    args = parser.parse_args()
    found = panels(read_study(args.study), args.task)
    print(table(found))
    if args.plot:
        rows, columns = -(-len(found) // COLUMNS), min(COLUMNS, len(found))
        width = 6.8 if len(found) == 1 else 4.2 * columns
        figure, axes = plt.subplots(rows, columns, figsize=(width, 3.2 * rows), squeeze=False, constrained_layout=True)
        for axis in axes.flat[len(found) :]:
            axis.set_axis_off()
        for axis, (task, records) in zip(axes.flat, found.items(), strict=False):
            draw(axis, *records)
            axis.set_title(task, fontsize=10)
        args.plot.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(args.plot, dpi=110)


if __name__ == "__main__":
    main()
