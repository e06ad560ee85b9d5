# SPDX-License-Identifier: BSD-3-Clause
"""What is in a dataset: what `gr00t-rl dataset inspect` reports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..utils.foreign_files import is_count
from .described import read_info
from .draft import draft_modality
from .layout import INFO, MODALITY, Slice
from .reader import DatasetPart, read_dataset, reading
from .statistics import statistics

if TYPE_CHECKING:
    from ..gr00t import Statistics  # loads transformers


def inspect_dataset(
    root: Path, modality: Mapping[str, Any] | None = None, trained: Statistics | None = None
) -> dict[str, Any]:
    """Read a dataset without its pictures, whose number is checked.

    Args:
        root: The dataset's folder.
        modality: What stands for the content of its modality.json; where None, its own, or a draft where it has none.
        trained: Statistics of a checkpoint, to compare the values with.

    Returns:
        A table that is ready for JSON.

    Raises:
        ConfigurationError: It is no dataset, or a file is broken.
    """
    info = read_info(root)
    drafted = modality is None and not (root / MODALITY).exists()
    part = read_dataset(root, modality=draft_modality(info) if drafted else modality)
    layout, lengths = part.layout, torch.tensor(part.lengths, dtype=torch.float64)
    counts = dict(zip(*(x.tolist() for x in part.task.unique(return_counts=True)), strict=True))
    report = {
        "folder": str(root),
        "version": part.described.version,
        "robot_type": layout.robot_type,
        "fps": layout.fps,
        "episodes": {
            "count": len(part.episodes),
            "failed": sum(not episode.success for episode in part.episodes),
            "frames": int(lengths.sum()),
            "shortest": int(lengths.min()),
            "median": float(lengths.median()),
            "longest": int(lengths.max()),
            "minutes": round(float(lengths.sum()) / layout.fps / 60, 2),
        },
        "announced": {name: count for name in ("episodes", "frames") if is_count(count := info.get(f"total_{name}"))},
        "features": {
            name: {"dtype": feature.get("dtype"), "shape": feature.get("shape")}
            for name, feature in info["features"].items()
        },
        "cameras": {
            key: {"column": layout.camera_column(key), "height": size[0], "width": size[1], "stored": layout.images}
            for key, size in layout.cameras.items()
        },
        "pictures_gb": round(3 * sum(h * w for h, w in layout.cameras.values()) * float(lengths.sum()) / 1e9, 3),
        "tasks": {text: counts.get(number, 0) for number, text in part.described.tasks.items()},
        "task_column": layout.task_column,
        "state": _keys(part.state, layout.state),
        "action": _keys(part.action, layout.action),
        "videos": _videos(part),
        "modality_drafted": drafted,
    }
    if trained is not None:
        report["checkpoint"] = {
            name: _fit(part, name, getattr(layout, name), getattr(trained, name)) for name in ("state", "action")
        }
    return report


def _videos(part: DatasetPart) -> dict[str, dict[str, Any]]:
    """What is strange about each camera's videos; cameras where nothing is are left out."""
    longer: dict[str, list[tuple[int, int]]] = {key: [] for key in part.clips}
    rates: dict[str, set[float]] = {key: set() for key in part.clips}
    fps = part.layout.fps
    for number, episode in enumerate(part.episodes):
        with reading(part.described.root, episode.index):
            for key, clips in part.clips.items():
                if surplus := clips[number].check(fps):
                    longer[key].append((episode.index, surplus))
                rate = clips[number].rate()
                if rate is not None and abs(rate - fps) > 0.01 * fps:
                    rates[key].add(round(rate, 3))
    tables = {
        key: {"longer": [{"episode": e, "more": more} for e, more in longer[key]], "other_rates": sorted(rates[key])}
        for key in part.clips
    }
    return {key: table for key, table in tables.items() if any(table.values())}


def _keys(values: torch.Tensor, keys: Mapping[str, Slice]) -> dict[str, Any]:
    """What is in each key's columns of ``values`` [F, D]."""
    found = {}
    for key, place in keys.items():
        columns = values[:, place.start : place.end]
        finite = columns.isfinite()
        whole = finite.all(dim=1)
        table = statistics(columns[whole]) if whole.any() else {}
        found[key] = {
            "start": place.start,
            "end": place.end,
            "absolute": place.absolute,
            "non_finite": (~finite).sum(0).tolist(),
            "constant": [i for i in range(columns.shape[1]) if table and table["min"][i] == table["max"][i]],
            "statistics": table,
        }
    return found


def _fit(part: DatasetPart, name: str, keys: Mapping[str, Slice], trained: Mapping[str, Any]) -> dict[str, Any]:
    """Share of each key's values that lie outside the checkpoint's minimum to maximum."""
    values, found = getattr(part, name), {}
    for key, place in keys.items():
        table = trained.get(key, {})
        if not {"min", "max"} <= table.keys():
            found[key] = None
            continue
        low, high = table["min"], table["max"]
        if len(low) != place.end - place.start:
            found[key] = {"width": len(low)}
            continue
        columns = values[:, place.start : place.end]
        outside = (columns < low) | (columns > high) | ~columns.isfinite()
        found[key] = {"outside": [round(share, 6) for share in outside.double().mean(0).tolist()]}
    absent = {key: {"absent": True} for key in trained if key not in keys}
    return found | absent


def as_text(report: Mapping[str, Any]) -> str:
    """The report for a person."""
    episodes = report["episodes"]
    lines = [
        f"{report['folder']}: LeRobot {report['version']}, robot {report['robot_type']}, {report['fps']:g} frames per "
        "second",
        f"{episodes['count']} episodes ({episodes['failed']} failed), {episodes['frames']} frames, "
        f"{episodes['minutes']:g} minutes; the shortest {episodes['shortest']}, median {episodes['median']:g}, the "
        f"longest {episodes['longest']} frames",
        "",
        f"tasks (column {report['task_column']}):",
        *(f"  {count:8} frames  {text!r}" for text, count in report["tasks"].items()),
        "",
        f"cameras ({report['pictures_gb']:g} GB in memory):",
        *(
            f"  {key:16} {camera['height']} x {camera['width']}, {camera['stored']}, column {camera['column']}"
            for key, camera in report["cameras"].items()
        ),
        "",
        "features:",
        *(f"  {name:44} {table['dtype']!s:8} {table['shape']}" for name, table in report["features"].items()),
    ]
    for part in ("state", "action"):
        lines += ["", f"{part}:", f"  {'key':20} {'dim':>4} {'min':>11} {'max':>11} {'mean':>11} {'std':>11}"]
        for key, table in report[part].items():
            lines += _rows(key, table)
    problems = _problems(report)
    if "checkpoint" in report and not any(
        _misfits("", fit) for part in report["checkpoint"].values() for fit in part.values()
    ):
        lines += ["", "all values lie in the checkpoint's range"]
    lines += ["", "to look at:" if problems else "nothing strange was found", *(f"  {line}" for line in problems)]
    return "\n".join(lines)


def _rows(key: str, table: Mapping[str, Any]) -> list[str]:
    values = table["statistics"]
    if not values:
        return [f"  {key:20}    no frame is finite"]
    return [
        f"  {key if index == 0 else '':20} {index:>4} "
        + " ".join(f"{values[name][index]:11.4g}" for name in ("min", "max", "mean", "std"))
        for index in range(table["end"] - table["start"])
    ]


def _problems(report: Mapping[str, Any]) -> list[str]:
    """What a person should look at."""
    found, episodes = [], report["episodes"]
    there = {"episodes": episodes["count"], "frames": episodes["frames"]}
    if other := {name: count for name, count in report["announced"].items() if count != there[name]}:
        counted, here = (", ".join(f"{table[name]} {name}" for name in other) for table in (other, there))
        found.append(f"{INFO} counts {counted}, here are {here}: a part of a dataset, or a file is missing")
    for part in ("state", "action"):
        for key, table in report[part].items():
            bad = [(i, count) for i, count in enumerate(table["non_finite"]) if count]
            found += [f"{part}.{key}, dimension {i}: {n} values are no finite number" for i, n in bad]
            if table["constant"]:
                found.append(f"{part}.{key}: dimensions {table['constant']} never change")
    for key, table in report["videos"].items():
        if longer := table["longer"]:
            found.append(
                f"video.{key}: more pictures than their episode has frames, of which the first are taken, in the "
                f"videos of {len(longer)} episodes; in that of episode {longer[0]['episode']} {longer[0]['more']} more"
            )
        if table["other_rates"]:
            rates = ", ".join(f"{rate:g}" for rate in table["other_rates"])
            found.append(f"video.{key}: {rates} pictures per second, the dataset has {report['fps']:g} frames")
    if report["modality_drafted"]:
        found.append(f"there is no {MODALITY}: the keys are a draft; check them, and `absolute` of each action")
    for part, keys in report.get("checkpoint", {}).items():
        for key, fit in keys.items():
            found += _misfits(f"{part}.{key}", fit)
    return found


def _misfits(name: str, fit: Mapping[str, Any] | None) -> list[str]:
    if fit is None:
        return [f"{name}: the checkpoint has no statistics of it"]
    if "absent" in fit:
        return [f"{name}: the checkpoint has it, the dataset does not"]
    if "width" in fit:
        return [f"{name}: the checkpoint's statistics are {fit['width']} wide"]
    outside = [f"{100 * share:.1f} % of dimension {i}" for i, share in enumerate(fit["outside"]) if share]
    return [f"{name}: outside the checkpoint's range are {', '.join(outside)}"] if outside else []
