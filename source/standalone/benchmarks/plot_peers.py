# SPDX-License-Identifier: BSD-3-Clause
"""Draw what ``peers.py`` and ``peers_isaac.py`` recorded, and print the final returns.

    python source/standalone/benchmarks/plot_peers.py --results docs/results/peers.json --image docs/images/peers.png

Lines are means over seeds, bands their range. The final return of a run is the mean of the episodes that ended in the
last tenth of its env steps.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from records import read_study

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LABELS = {
    "ours": "gr00t_rl PPO",
    "sb3": "Stable-Baselines3",
    "rsl_rl": "rsl_rl, its usual settings",
    "rsl_rl_small_batch": "rsl_rl, our minibatches",
}
BINS = 40

Runs = dict[str, dict[str, list[dict[str, Any]]]]
"""Task -> library -> one record per seed."""


def load(study: Path) -> Runs:
    """Read all runs of a study."""
    runs: Runs = defaultdict(lambda: defaultdict(list))
    for record in read_study(study).values():
        runs[record["task"]][record["library"]].append(record)
    return runs


def curve(record: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return env steps and returns of a run: per iteration as recorded, or the episodes' mean in equal bins."""
    if "return" in record:
        return np.array(record["env_steps"], dtype=float), np.array(record["return"], dtype=float)
    edges = np.linspace(0, record["env_steps"], BINS + 1)
    ends, returns = np.array(record["episode_ends"]), np.array(record["returns"])
    index = np.clip(np.searchsorted(edges, ends, side="left") - 1, 0, BINS - 1)
    means = [returns[index == i].mean() if (index == i).any() else np.nan for i in range(BINS)]
    return edges[1:], np.array(means)


def final_return(record: dict[str, Any]) -> float:
    """Return the mean over the last tenth of the env steps."""
    if "return" in record:
        values = record["return"]
        return float(np.nanmean(values[-max(1, len(values) // 10) :]))
    ends, returns = np.array(record["episode_ends"]), np.array(record["returns"])
    return float(returns[ends > 0.9 * record["env_steps"]].mean())


def plot(runs: Runs, image: Path) -> None:
    """Draw one panel per task."""
    figure, axes = plt.subplots(1, len(runs), figsize=(4.6 * len(runs), 3.6), constrained_layout=True, squeeze=False)
    for axis, (task, libraries) in zip(axes[0], runs.items(), strict=True):
        for library, label in LABELS.items():
            records = libraries.get(library, [])
            if not records:
                continue
            curves = [curve(record) for record in records]
            length = min(len(steps) for steps, _ in curves)
            steps = curves[0][0][:length] / 1000
            values = np.array([returns[:length] for _, returns in curves])
            seen = ~np.isnan(values).any(axis=0)
            steps, values = steps[seen], values[:, seen]
            (line,) = axis.plot(steps, values.mean(0), label=f"{label} ({len(records)})")
            axis.fill_between(steps, values.min(0), values.max(0), alpha=0.18, color=line.get_color(), linewidth=0)
        axis.set(title=task, xlabel="env steps (thousands)", ylabel="episodic return")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    image.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(image, dpi=120)


def table(runs: Runs) -> str:
    """Return the final returns as a Markdown table."""
    lines = ["| task | library | seeds | final return: mean (range) |", "|---|---|---|---|"]
    for task, libraries in runs.items():
        for library, label in LABELS.items():
            finals = [final_return(record) for record in libraries.get(library, [])]
            if finals:
                digits = 3 if max(abs(f) for f in finals) < 10 else 0
                low, mean, high = (f"{f:.{digits}f}" for f in (min(finals), float(np.mean(finals)), max(finals)))
                lines.append(f"| {task} | {label} | {len(finals)} | {mean} ({low} … {high}) |")
    return "\n".join(lines)


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="study file of peers.py and peers_isaac.py")
    parser.add_argument("--image", type=Path, required=True, help="picture to draw")
    args = parser.parse_args()
    runs = load(args.results)
    if not runs:
        parser.error(f"no runs in {args.results}: run peers.py first")
    print(table(runs))
    plot(runs, args.image)


if __name__ == "__main__":
    main()
