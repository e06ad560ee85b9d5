# SPDX-License-Identifier: BSD-3-Clause
"""``report.html``: one file with everything in it, which needs no network and can be sent to somebody."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import Any

from ..utils.episode_recorder import Episodes
from ..utils.whole_files import write_whole
from .film import Clip, movie_webp, strip_png
from .plots import histograms, learning_curves, region_maps, success_bars
from .result import return_text, success_text, table_rows
from .runs import Comparison

REPORT_FILE = "report.html"

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.45 sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse }} th, td {{ text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top }}
img {{ max-width: 100% }} .film {{ display: flex; gap: .6rem; align-items: center; margin: .4rem 0 }}
.film img:first-child {{ width: 10rem }} .film img:last-child {{ width: calc(100% - 11rem) }}
figcaption {{ font-weight: bold }} figure {{ margin: 1rem 0 }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""


def evaluation_html(result: dict[str, Any], episodes: Episodes, step_dt: float, clips: list[Clip]) -> str:
    """Return the part of a report about one evaluation.

    Args:
        result: What :func:`~gr00t_rl.evaluation.result.summarise` and the program found.
        episodes: The counted episodes.
        step_dt: Seconds per env step.
        clips: Films to show; may be empty.
    """
    parts = [
        "<table>",
        *(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in table_rows(result)),
        "</table>",
    ]
    if result["regions"]:
        parts += ["<h2>Success by start</h2>", _image("png", region_maps(result["regions"]), "success by region")]
    parts += ["<h2>Episodes</h2>", _image("png", histograms(episodes, step_dt), "histograms")]
    if clips:
        parts.append("<h2>Films</h2><p>Of a second run of a few envs, which does not count; in real time.</p>")
    for clip in clips:
        movie = _image("webp", movie_webp(clip, step_dt), clip.title)
        strip = _image("png", strip_png(clip), f"film strip of a {clip.title}")
        parts.append(
            f"<figure><figcaption>{escape(clip.title)}</figcaption><div class='film'>{movie}{strip}</div></figure>"
        )
    return "\n".join(parts)


def comparison_html(comparison: Comparison) -> str:
    """Return the part of a report that compares results and training runs."""
    parts = []
    if comparison.results:
        head = ("", "task", "success [95 % interval]", "episodes", "return", "length", "checkpoint")
        parts += ["<h2>Comparison</h2><table>", _row(head, "th")]
        for entry in comparison.results:
            result = entry.result or {}
            numbers = (f"{result['num_episodes']}", return_text(result), f"{result['mean_length']:.1f}")
            task, checkpoint = (str(result.get(name, "")) for name in ("task", "checkpoint"))
            parts.append(_row((entry.label, task, success_text(result), *numbers, checkpoint)))
        parts.append("</table>")
        parts += _success_by_instruction(comparison)
        bars = success_bars(comparison.results)
        if bars is not None:
            parts.append(_image("png", bars, "success rates with intervals"))
    if comparison.curves:
        parts.append(
            "<h2>Learning curves</h2><p>As logged while training, with exploration noise. The first points are too "
            "high: before an episode's full length has passed, only those that succeeded early have ended.</p>"
        )
        parts.append(_image("png", learning_curves(comparison.curves), "learning curves"))
    return "\n".join(parts)


def _success_by_instruction(comparison: Comparison) -> list[str]:
    """Return a table of success by instruction, nothing where no result has several."""
    found = [(entry.label, (entry.result or {}).get("instructions", {})) for entry in comparison.results]
    names = list(dict.fromkeys(name for _, numbers in found for name in numbers))
    if not names:
        return []
    rows = (
        (label, *(success_text(numbers[name]) if name in numbers else "" for name in names)) for label, numbers in found
    )
    return ["<h3>Success by instruction</h3><table>", _row(("", *names), "th"), *map(_row, rows), "</table>"]


def write_report(folder: Path, title: str, parts: list[str]) -> Path:
    """Write ``folder/report.html`` from HTML parts, whole or not at all; returns its path."""
    path = folder / REPORT_FILE
    write_whole(path, _PAGE.format(title=escape(title), body="\n".join(parts)).encode())
    return path


def _row(cells: tuple[str, ...], tag: str = "td") -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _image(kind: str, data: bytes, alt: str) -> str:
    return f'<img alt="{escape(alt)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
