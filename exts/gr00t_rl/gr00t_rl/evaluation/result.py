# SPDX-License-Identifier: BSD-3-Clause
"""The numbers of an evaluation: how they are computed, written, read again and printed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.episode_recorder import Episodes
from ..utils.errors import ConfigurationError
from ..utils.foreign_files import is_count, is_finite, parse_json, read_text, shown
from ..utils.intervals import wilson_interval
from ..utils.whole_files import write_whole
from .regions import regions

RESULT_FILE = "result.json"
"""Name of the result in a report's folder."""

INTERFACE = ("success_rate", "success_ci95", "num_episodes", "mean_return", "mean_length")
"""Keys that every result has and that other programs may rely on."""


def summarise(episodes: Episodes, step_dt: float, labels: Sequence[str] = ()) -> dict[str, Any]:
    """Return the numbers of a result that follow from its episodes.

    Args:
        episodes: The counted episodes.
        step_dt: Seconds per env step.
        labels: Of the instructions that episodes are given by chance, in their order.
    """
    count, finite = len(episodes.returns), np.isfinite(episodes.returns)
    result: dict[str, Any] = {
        "success_rate": None,
        "success_ci95": None,
        "num_episodes": count,
        "mean_return": float(episodes.returns[finite].mean()) if finite.any() else None,
        "mean_length": float(episodes.lengths.mean()),
        "time_to_success_s": None,
        "instructions": by_instruction(episodes, step_dt, labels),
        "regions": regions(episodes),
    }
    notes = []
    if not finite.all():
        notes.append(
            f"{count - int(finite.sum())} episodes have a return that is not finite; mean_return is of the others"
        )
    if episodes.success is None:
        notes.append("the env reports no extras['success'], so that only return and length are known")
    else:
        result |= _success(episodes.success, episodes.lengths, step_dt)
    if notes:
        result["note"] = "; ".join(notes)
    return result


def by_instruction(episodes: Episodes, step_dt: float, labels: Sequence[str]) -> dict[str, Any]:
    """Return success by the instruction that episodes were given, by label; empty without success or instructions."""
    if episodes.success is None or episodes.instruction is None:
        return {}
    found = {}
    for number, label in enumerate(labels):
        these = episodes.instruction == number
        found[label] = {"num_episodes": int(these.sum())}
        found[label] |= _success(episodes.success[these], episodes.lengths[these], step_dt)
    return found


def _success(success: np.ndarray, lengths: np.ndarray, step_dt: float) -> dict[str, Any]:
    """Return success rate, interval and time to success of some episodes, None where there is none to speak of."""
    numbers: dict[str, Any] = dict.fromkeys(("success_rate", "success_ci95", "time_to_success_s"))
    count, successes = len(success), int(success.sum())
    if count:
        numbers["success_rate"] = successes / count
        numbers["success_ci95"] = list(wilson_interval(successes, count))
    if successes:
        seconds = lengths[success] * step_dt
        numbers["time_to_success_s"] = {"mean": float(seconds.mean()), "median": float(np.median(seconds))}
    return numbers


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write a result as JSON, whole or not at all."""
    write_whole(path, (json.dumps(result, indent=2, allow_nan=False) + "\n").encode())


def read_result(path: Path) -> dict[str, Any]:
    """Read a result.

    Raises:
        ConfigurationError: If the file is missing or no result of an evaluation.
    """
    try:
        result = parse_json(read_text(path))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"--compare {path} cannot be read ({error}); pass a JSON that `gr00t-rl evaluate` wrote"
        ) from None
    missing = [key for key in INTERFACE if not isinstance(result, dict) or key not in result]
    if missing:
        raise ConfigurationError(
            f"--compare {path} is not a result of `gr00t-rl evaluate`: it has no {', '.join(missing)}; pass a JSON "
            "that `gr00t-rl evaluate` wrote"
        )
    bad = _wrong(result)
    if bad is not None:
        raise ConfigurationError(
            f"--compare {path}: {bad[0]} is {shown(bad[1])}, which `gr00t-rl evaluate` does not write; pass a JSON "
            "that it wrote"
        )
    return result


def _wrong(result: dict[str, Any]) -> tuple[str, Any] | None:
    """Return name and value of an entry that is not as :func:`summarise` writes it; None if all are that programs use.

    Results from before there were instructions lack these.
    """
    parts = result.get("instructions", {})
    if not isinstance(parts, dict):
        return "instructions", parts
    for name, may_lack in (("mean_return", True), ("mean_length", False)):
        if not is_finite(result[name]) and not (may_lack and result[name] is None):
            return name, result[name]
    for label, numbers in (("", result), *parts.items()):
        where = f"instructions.{label}." if label else ""
        if not isinstance(numbers, dict):
            return where.rstrip("."), numbers
        count, rate, interval = (numbers.get(name) for name in ("num_episodes", "success_rate", "success_ci95"))
        if not is_count(count):
            return f"{where}num_episodes", count
        if rate is None and interval is None:
            continue
        if not is_finite(rate) or not 0 <= rate <= 1:
            return f"{where}success_rate", rate
        if not isinstance(interval, list) or len(interval) != 2 or not all(map(is_finite, interval)):
            return f"{where}success_ci95", interval
        if not 0 <= interval[0] <= rate <= interval[1] <= 1:
            return f"{where}success_ci95", interval
    return None


def success_text(result: dict[str, Any]) -> str:
    """Return the success rate with its interval for people, in per cent."""
    if result["success_rate"] is None:
        return "unknown"
    low, high = result["success_ci95"]
    return f"{100 * result['success_rate']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def return_text(result: dict[str, Any]) -> str:
    """Return the mean return for people; no env reported a finite one where it is None."""
    return "not finite" if result["mean_return"] is None else f"{result['mean_return']:.3f}"


def _of_episodes(numbers: dict[str, Any]) -> str:
    """Return the success rate of some episodes and their number."""
    return f"{success_text(numbers)} of {numbers['num_episodes']} episodes"


def table_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return a result as (name, value) rows, for the console and the report."""
    rows = [
        ("task", str(result.get("task", ""))),
        ("checkpoint", str(result.get("checkpoint", ""))),
        ("success [95 % interval]", success_text(result)),
        # results from before there were instructions lack the key
        *((f"  {label}", _of_episodes(numbers)) for label, numbers in result.get("instructions", {}).items()),
        ("episodes", f"{result['num_episodes']} in {result.get('num_envs', '?')} envs, seed {result.get('seed', '?')}"),
        ("return", return_text(result)),
        ("length", f"{result['mean_length']:.1f} env steps"),
    ]
    if result.get("time_to_success_s"):
        times = result["time_to_success_s"]
        rows.append(("time to success", f"median {times['median']:.2f} s, mean {times['mean']:.2f} s"))
    if result.get("init_noise_scale") is not None:
        rows.append(("init_noise_scale", f"{result['init_noise_scale']:g}"))
    if "timing" in result:
        timing = result["timing"]
        rows.append(("took", f"{timing['wall_s']:.1f} s, {timing['env_steps_per_s']:.0f} env steps/s"))
    if "note" in result:
        rows.append(("note", result["note"]))
    return rows


def as_text(result: dict[str, Any]) -> str:
    """Return the table of a result for the console."""
    rows = table_rows(result)
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)
