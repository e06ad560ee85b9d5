# SPDX-License-Identifier: BSD-3-Clause
"""The tables of results in the documents are those of the records in docs/results."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from finetune_lift import share
from records import Record, read_study

DOCS = Path(__file__).resolve().parents[4] / "docs"


def section(title: str, page: str = "learning") -> str:
    """The text below a heading of a page, up to the next heading."""
    return re.split(r"\n#+ ", (DOCS / f"{page}.md").read_text(encoding="utf-8").partition(f"# {title}\n")[2])[0]


def rows(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """Each row of the text's tables: the cells of its head, and its own."""
    head: list[str] = []
    lines = text.splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if after.startswith("|---"):
            head = cells
        elif cells and not line.startswith("|---"):
            yield head, cells


def cost(run: Record) -> list[str]:
    """Minutes and env steps as the tables have them."""
    curve = run["curve"]
    return [f"{curve['seconds'][-1] / 60:.1f}", f"{curve['env_steps'][-1] / 1e6:.2f} M"]


def test_runs_on_two_cores():
    """The tables have every run of the file and each of its instructions, and the curves end where they say."""
    study, seen, run, base = read_study(DOCS / "results" / "lift_2_cores.json"), set(), {}, {}
    for _, (task, seed, iterations, *figures) in rows(section("On two cores") + section("Three tasks in one run")):
        if not seed:
            of = [found["init_noise_1"]["instructions"][task] for found in (base, run["after"])]
            assert figures[-2:] == [share(found) for found in of]
            seen.add(f"{task} of {run['task']}")
            continue
        name = f"{task.strip('`')}_ppo"
        run, base = study[f"{name}_seed{seed}"], study[f"{name}_base"]
        seen.add(f"{name}_seed{seed}")
        assert int(iterations) == run["iterations"]
        assert figures == [*cost(run), share(base["init_noise_1"]), share(run["after"]["init_noise_1"])]
    runs = {name: run for name, run in study.items() if "curve" in run}
    of = [(name, run["task"]) for run in runs.values() for name in run["after"]["init_noise_1"].get("instructions", {})]
    assert seen == {*runs, *(f"{name} of {task}" for name, task in of)}


def test_runs_from_the_base_of_few_demonstrations():
    study, name = read_study(DOCS / "results" / "lift_16_demonstrations.json"), "Gr00t-Pick-Place-Cube-Franka_ppo"
    seen = set()
    for head, (*_, seed, iterations, minutes, env_steps, before, after) in rows(
        section("The demonstrations behind the base")
    ):
        if head[-1] == "after":
            run = study[f"{name}_seed{seed}"]
            seen.add(int(seed))
            assert [int(iterations), minutes, env_steps] == [run["iterations"], *cost(run)]
            assert [before, after] == [share(found["init_noise_1"]) for found in (study[f"{name}_base"], run["after"])]
    assert seen == {1, 2, 3}


@pytest.mark.parametrize(
    ("page", "title", "name", "file"),
    [
        ("grpo", "From the shipped base policy", "Gr00t-Push-Cube-Franka_grpo", "lift"),
        ("screened", "Small steps", "Gr00t-Push-Cube-Franka-Camera_ppo", "lift"),
        ("grpo", "From pictures", "Gr00t-Push-Cube-Franka-Camera_grpo", "lift"),
        ("generations", "Learning", "Gr00t-Push-Cube-Franka-Camera_n1d7", "lift_n1d7"),
    ],
)
def test_runs_on_one_core(page, title, name, file):
    study, seen = read_study(DOCS / "results" / f"{file}.json"), set()
    for head, (run, *figures) in rows(section(title, page)):
        if not head[0].startswith("`Gr00t-"):
            continue
        seen.add(f"{name}_{run.replace(' ', '')}")
        record = study[f"{name}_{run.replace(' ', '')}"]
        found = record if run == "base" else record["after"]
        expected = [share(found[f"init_noise_{text[-1]}"]) for text in head if text.startswith("success")]
        assert figures == [*(["", ""] if run == "base" else cost(record)), *expected], run
    assert seen == {run for run in study if run.startswith(f"{name}_")}


def test_settings_that_were_screened():
    """Each evaluation of the table is one of the file, with the success of the last tenth of its training episodes."""
    study = read_study(DOCS / "results" / "screen.json")
    recorded: list[tuple[str, ...]] = []
    for run in study.values():
        success = np.array(run["curve"]["success_rate"], dtype=float)
        late = np.nanmean(success[-max(3, len(success) // 10) :])
        task = run["task"].removeprefix("Gr00t-")
        recorded.append((task, str(run["seed"]), f"{100 * late:.0f} %", share(run["after"])))
    task, missing = "", []
    for head, cells in rows(section("Settings that were screened", "screened")):
        if head[:2] != ["task", "setting"]:
            continue
        name, setting, *figures = (cell.strip("*") for cell in cells)
        task = re.split(r",| at | from ", name)[0] or task
        name = f"{task.removesuffix('-Camera')}-Cube-Franka{'-Camera' * task.endswith('-Camera')}"
        if (name, *figures) in recorded:
            recorded.remove((name, *figures))
        else:
            missing.append(setting)
    assert missing == ["coefficients-preserving noise (arXiv 2509.05952), all of it drawn anew"]  # its record is lost
    assert not recorded


def test_ppo_and_grpo_at_equal_env_steps():
    """The table has every run of the file, in the order of the seeds, and their means; all have as many env steps."""
    study = read_study(DOCS / "results" / "ppo_or_grpo.json")
    assert {f"{run['curve']['env_steps'][-1] / 1e6:.2f} M" for run in study.values()} == {"0.49 M"}
    names = {"PPO": "PPO", "GRPO, `credit=reward_to_go`, `gamma=0.975` (the agent's)": "GRPO"}
    names |= {
        "GRPO, `credit=reward_to_go`, `gamma=0.995`": "GRPO, sparse, to go",
        "GRPO, `credit=episode`": "GRPO, sparse",
    }
    seen = set()
    for _, (rewards, algorithm, *figures) in rows(section("Success as the only reward", "grpo")):
        name = names[algorithm] + ", sparse" * (rewards != "dense" and algorithm == "PPO")
        length = 12 if name.startswith("GRPO") else 40
        runs = [f"Gr00t-Push-Cube-Franka_{name}_{length}_seed{seed}" for seed in (1, 2, 3)]
        seen |= {*runs}
        mean = np.mean([study[run]["after"]["success_rate"] for run in runs])
        assert figures == [*(share(study[run]["after"]) for run in runs), f"{100 * mean:.1f} %"], name
    assert seen == study.keys()
