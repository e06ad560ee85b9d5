# SPDX-License-Identifier: BSD-3-Clause
"""What is known of a run's success: the results of ``gr00t-rl evaluate`` in its folder, and its own evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..evaluation.result import RESULT_FILE, read_result, success_text
from ..utils.errors import ConfigurationError
from ..utils.intervals import wilson_interval

BASE = "base"
"""``checkpoint`` of a result that judged the base weights."""


_TOKENIZER = "agent.actor.tokenizer"


class Success(NamedTuple):
    """A row of the card."""

    what: str
    """Whose success."""
    text: str
    """Rate and interval, in per cent."""
    how: str
    """Episodes, seed and noise."""


def success_of(file: Path, content: Mapping[str, Any], base: str) -> list[Success]:
    """Return what is known of a run's checkpoint and of the base weights, these first.

    Results that judged other checkpoints of the run are left out, and those that are not readable.

    Args:
        file: ``model_N.pt`` of the run, with ``evaluation/`` beside it.
        content: What the file holds.
        base: ``agent.actor.checkpoint`` of the run: a result of other base weights is left out too.
    """
    before, after = [], []
    for path in sorted((file.parent / "evaluation").rglob(RESULT_FILE)):
        try:
            result = read_result(path)
        except ConfigurationError:
            continue
        judged = str(result.get("checkpoint", ""))
        if result["success_rate"] is None:
            continue
        if judged == BASE and _override(result, "agent.actor.checkpoint") in (None, base):
            before.append(_row("base weights", result))
        elif _is_same(file, Path(judged)):
            after.append(_row("this policy", result))
    if own := _own_evaluation(content):
        after.append(own)
    return [*before, *after]


def _is_same(file: Path, judged: Path) -> bool:
    """Whether a result is of ``file``; the run's folder may have been moved since, so that names count."""
    return judged.name == file.name and judged.parent.name == file.resolve().parent.name


def _override(result: Mapping[str, Any], name: str) -> str | None:
    """Value of an override that an evaluation was given; None where it was not."""
    found = [text.partition("=")[2] for text in result.get("overrides") or () if text.startswith(f"{name}=")]
    return found[-1] if found else None


def _row(what: str, result: Mapping[str, Any]) -> Success:
    noise = result.get("init_noise_scale")
    shown = "" if noise is None else f", initial noise {noise:g}"
    # not those that name files of a machine
    changed = [o for o in result.get("overrides") or () if not o.startswith(("agent.actor.checkpoint", _TOKENIZER))]
    changes = f", `{' '.join(changed)}`" if changed else ""
    how = f"{result['num_episodes']} episodes, seed {result.get('seed', '?')}{shown}{changes}"
    return Success(what, success_text(dict(result)), how)


def _own_evaluation(content: Mapping[str, Any]) -> Success | None:
    """The evaluation during training of these very weights, if they are the best of their run."""
    best = (content.get("algorithm_state_dict") or {}).get("best")
    if not best or best.get("successes") is None or best.get("iteration") != content.get("iter"):
        return None
    low, high = wilson_interval(best["successes"], best["episodes"])
    rate = best["successes"] / best["episodes"]
    return Success(
        "this policy, during training",
        f"{100 * rate:.1f} % [{100 * low:.1f}, {100 * high:.1f}]",
        f"{best['episodes']} episodes; the best of several evaluations, which its luck flatters",
    )
