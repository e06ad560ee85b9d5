# SPDX-License-Identifier: BSD-3-Clause
"""Plots of a report, as PNG bytes."""

from __future__ import annotations

import io
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ..utils.episode_recorder import Episodes
from .runs import CURVES, Entry

_FAILED, _SUCCEEDED = "tab:orange", "tab:green"


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    plt.close(figure)
    return file.getvalue()


def region_maps(regions: dict[str, Any]) -> bytes:
    """Draw success by region: one map per start position, x to the front (up), y to the left, as the robot sees it."""
    figure, axes = plt.subplots(
        1, len(regions), figsize=(4.4 * len(regions), 3.6), squeeze=False, constrained_layout=True
    )
    for axis, (name, grid) in zip(axes[0], regions.items(), strict=True):
        episodes, successes = np.array(grid["episodes"]), np.array(grid["successes"])
        rate = np.where(episodes > 0, successes / np.maximum(episodes, 1), np.nan)
        x, y = np.array(grid["x_edges_m"]), np.array(grid["y_edges_m"])
        mesh = axis.pcolormesh(y, x, rate, vmin=0, vmax=1, cmap="RdYlGn", edgecolors="white")
        for i, j in np.ndindex(*rate.shape):
            text = f"{100 * rate[i, j]:.0f} %\n{successes[i, j]}/{episodes[i, j]}" if episodes[i, j] else "none"
            axis.text((y[j] + y[j + 1]) / 2, (x[i] + x[i + 1]) / 2, text, ha="center", va="center", fontsize=9)
        axis.invert_xaxis()
        axis.set(title=f"success by start of {name}", xlabel="y [m]", ylabel="x [m]")
        figure.colorbar(mesh, ax=axis)
    return _png(figure)


def histograms(episodes: Episodes, step_dt: float) -> bytes:
    """Draw the distributions of the time to success and of the returns, by outcome where it is known."""
    figure, (times, returns) = plt.subplots(1, 2, figsize=(9, 3.2), constrained_layout=True)
    won = episodes.success if episodes.success is not None else np.zeros(len(episodes.returns), dtype=bool)
    if won.any():
        steps = episodes.lengths[won]
        # whole env steps per bin: others would be filled unevenly
        width = max(1, int(np.ceil((steps.max() - steps.min() + 1) / 20)))
        edges = np.arange(steps.min(), steps.max() + width + 1, width) - 0.5
        times.hist(steps * step_dt, bins=(edges * step_dt).tolist(), color=_SUCCEEDED)
    else:
        times.text(0.5, 0.5, "no success", ha="center", va="center", transform=times.transAxes)
    times.set(title="time to success", xlabel="s", ylabel="episodes")
    finite = np.isfinite(episodes.returns)
    if episodes.success is None:
        returns.hist(episodes.returns[finite], bins=20)
    else:
        parts = [episodes.returns[won & finite], episodes.returns[~won & finite]]
        returns.hist(parts, bins=20, stacked=True, color=[_SUCCEEDED, _FAILED], label=["success", "failure"])
        returns.legend()
    returns.set(title="return", xlabel="sum of rewards", ylabel="episodes")
    return _png(figure)


def success_bars(entries: list[Entry]) -> bytes | None:
    """Draw the success rates of results with their 95 % intervals; None if no result has one."""
    rated = [
        (entry.label, entry.result) for entry in entries if entry.result and entry.result["success_rate"] is not None
    ]
    if not rated:
        return None
    figure, axis = plt.subplots(figsize=(7, 0.8 + 0.42 * len(rated)), constrained_layout=True)
    for row, (_, result) in enumerate(rated):
        rate, (low, high) = result["success_rate"], result["success_ci95"]
        axis.barh(row, rate, color=f"C{row % 10}", alpha=0.75)
        axis.errorbar(rate, row, xerr=[[rate - low], [high - rate]], color="black", capsize=4)
    axis.set(xlim=(0, 1), xlabel="success rate, 95 % interval", yticks=range(len(rated)))
    axis.set_yticklabels([label for label, _ in rated])
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)
    return _png(figure)


def learning_curves(entries: list[Entry]) -> bytes:
    """Draw the learning curves of runs: a row per metric, left over env steps and right over wall time."""
    figure, axes = plt.subplots(len(CURVES), 2, figsize=(10, 3.1 * len(CURVES)), constrained_layout=True)
    for row, title in zip(axes, CURVES, strict=True):
        for entry in entries:
            assert entry.curves is not None
            row[0].plot(entry.curves.env_steps, entry.curves.values[title], label=entry.label)
            row[1].plot(entry.curves.seconds / 60, entry.curves.values[title], label=entry.label)
        for axis, label in zip(row, ("env steps", "minutes of collecting and learning"), strict=True):
            axis.set(xlabel=label, ylabel=title)
            axis.grid(alpha=0.3)
        row[0].xaxis.set_major_formatter(EngFormatter())
    axes[0][0].legend(fontsize=8)
    return _png(figure)
