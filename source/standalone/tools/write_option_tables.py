# SPDX-License-Identifier: BSD-3-Clause
"""Write docs/options.md from the options' declarations; a test says when it is out of date.

Usage::

    python source/standalone/tools/write_option_tables.py
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from gr00t_rl.options import (
    PARTS,
    CurriculumOptions,
    Declared,
    EnvOptions,
    FeatureCriticOptions,
    FlowActorOptions,
    FlowMlpActorOptions,
    GaussianOptions,
    Gr00tActorOptions,
    GrpoOptions,
    MlpOptions,
    Options,
    OrthogonalMlpOptions,
    OrthogonalRnnOptions,
    PartOptions,
    PpoOptions,
    RnnOptions,
    RunnerOptions,
    SceneOptions,
    SimulationOptions,
    SurrogateOptions,
    TabletopOptions,
    TaskOptions,
    declared,
    expected,
)

FILE = Path(__file__).resolve().parents[3] / "docs" / "options.md"
HEAD = """# Options

Set them on the command line: `agent.algorithm.clip_param=0.1 env.camera_size=128`. `null` means none. A wrong value
stops the run with a one-line error before the simulator starts.

Defaults are those of the classes. The agents of the tasks set some of their own ([Settings](learning.md#settings)):
`params/agent.yaml` in the folder of a run says what it used.

<!-- run: full -->
`python source/standalone/tools/write_option_tables.py` writes this page from
[`gr00t_rl/options`](../exts/gr00t_rl/gr00t_rl/options), where each option is declared once.
"""
TABLES: tuple[tuple[str, str, type[Options], tuple[type[Options], ...]], ...] = (
    ("PPO and GRPO", "agent.algorithm", SurrogateOptions, ()),
    (f"A part of the networks: PART is one of {', '.join(PARTS)}", "agent.algorithm.parts.PART", PartOptions, ()),
    ("PPO", "agent.algorithm", PpoOptions, (SurrogateOptions,)),
    ("GRPO", "agent.algorithm", GrpoOptions, (SurrogateOptions,)),
    ("Flow policies: GR00T and the flow MLP", "agent.actor", FlowActorOptions, ()),
    ("GR00T", "agent.actor", Gr00tActorOptions, (FlowActorOptions,)),
    ("Flow MLP", "agent.actor", FlowMlpActorOptions, (FlowActorOptions,)),
    ("MLP, as actor or critic", "agent.actor, agent.critic", MlpOptions, ()),
    ("MLP with orthogonal weights", "agent.actor, agent.critic", OrthogonalMlpOptions, (MlpOptions,)),
    ("Recurrent MLP", "agent.actor, agent.critic", RnnOptions, (MlpOptions,)),
    ("Recurrent MLP with orthogonal weights", "agent.actor, agent.critic", OrthogonalRnnOptions, (RnnOptions,)),
    ("Gaussian distribution of an MLP actor", "agent.actor.distribution_cfg", GaussianOptions, ()),
    ("Critic on GR00T's features", "agent.critic", FeatureCriticOptions, (MlpOptions,)),
    ("Runner", "agent", RunnerOptions, ()),
    ("Task", "env", TaskOptions, ()),
    ("Tabletop task", "env", TabletopOptions, (TaskOptions,)),
    ("Env (Isaac Lab's own)", "env", EnvOptions, ()),
    ("Scene (Isaac Lab's own)", "env.scene", SceneOptions, ()),
    ("Simulation (Isaac Lab's own)", "env.sim", SimulationOptions, ()),
    ("Curriculum (`env.curriculum=on`)", "env.curriculum.difficulty.params", CurriculumOptions, ()),
)
"""Title, path, options, and those whose table is another one: of them only changed defaults are listed."""


def shown(value: Any) -> str:
    """A default as one would write it on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value == float("inf"):
        return ".inf"
    if isinstance(value, dict):
        value = {name: entry for name, entry in value.items() if entry}
    return repr(value).replace("'", '"') if value == "" else str(value)


def row(item: Declared, of_task: bool) -> str:
    """An option as a line of its table; ``of_task``: whether each task has a default of its own."""
    doc, used = item.option.doc, item.option.only_with
    if used is not None:
        doc += f" Only with {used[0]}={' or '.join(map(str, used[1]))}."
    allowed = "" if item.type is type(None) or item.type is Any else expected(item)
    default = "the task's" if of_task else shown(item.default)
    cells = (f"`{item.name}`", default, allowed, doc)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |".replace("  ", " ")


def base_tables(others: tuple[type[Options], ...]) -> str:
    """Links to the tables of ``others``."""
    titles = [title for title, _, options, _ in TABLES if options in others]
    return ", ".join(f"[{title}](#{re.sub(r'[^a-z0-9 ]', '', title.lower()).replace(' ', '-')})" for title in titles)


def table(title: str, path: str, options: type[Options], others: tuple[type[Options], ...]) -> str:
    """A heading, what the options are of, and their table."""
    elsewhere = {name: item.default for other in others for name, item in declared(other).items()}
    items = [
        item
        for name, item in declared(options).items()
        if (name not in elsewhere or elsewhere[name] != item.default) and item.type is not type(None)
    ]
    lines = [
        row(item, "Isaac Lab" in title or item.name.startswith("instruction"))
        for item in items
        if item.default is not dataclasses.MISSING
    ]
    where = ", ".join(f"`{part}.*`" for part in path.split(", "))
    more = f" With those of {base_tables(others)}; here are new ones and other defaults:" if others else ""
    return "\n".join(
        [
            f"## {title}",
            "",
            f"{where}.{more}",
            "",
            "| option | default | values | meaning |",
            "|---|---|---|---|",
            *lines,
        ]
    )


def page() -> str:
    """The whole page."""
    return HEAD + "\n" + "\n\n".join(table(*entry) for entry in TABLES) + "\n"


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
