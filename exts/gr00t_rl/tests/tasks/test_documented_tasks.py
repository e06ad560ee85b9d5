# SPDX-License-Identifier: BSD-3-Clause
"""What the documents say of tasks and agents is what the cfgs say."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from isaaclab_tasks.utils.hydra import resolve_task_config

import gr00t_rl.tasks  # noqa: F401
from gr00t_rl.cfg import Gr00tCameraFinetuneRunnerCfg, Gr00tFinetuneRunnerCfg
from gr00t_rl.tasks.tabletop.physics import ROWS, STEP_DT, TWO_CUBE_ROWS

ROOT = Path(__file__).resolve().parents[4]
DOCUMENTS = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
TASKS = {"Reach": "Gr00t-Reach-Franka"} | {
    name: f"Gr00t-{name}-Cube-Franka" for name in ("Push", "Pick-Place", "Stack")
}
CUBES = "Gr00t-Tabletop-Cubes-Franka"
AGENT = "rsl_rl_cfg_entry_point"


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def table_of_tasks() -> dict[str, list[str]]:
    """The first table of docs/tasks.md: first cell of a row -> its cells, one for each of ``TASKS``."""
    lines = page("tasks.md").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| | `Gr00t-Reach-Franka` |"))
    rows = (line.split("|")[1:-1] for line in lines[first : first + 20] if line.count("|") == 6)
    table = {name.strip(): [cell.strip() for cell in cells] for name, *cells in rows}
    assert [cell.strip("`") for cell in table[""]] == list(TASKS.values())
    return table


@cache
def cfgs(task: str) -> tuple[Any, Any]:
    return resolve_task_config(task, AGENT, overrides=[])


@pytest.fixture(scope="module", autouse=True)
def forget_the_cfgs():
    """Kept agents would be those of the envs that other tests check."""
    yield
    cfgs.cache_clear()


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?(?:e-\d+)?", text)]


def state_size(task: str) -> int:
    """Columns of the group ``policy`` that GR00T reads."""
    return max(key.end for key in cfgs(task)[1].actor.modality.state.values())


@pytest.mark.parametrize(("column", "task"), list(enumerate(TASKS.values())))
def test_the_table_of_tasks(column: int, task: str) -> None:
    row = {name: cells[column] for name, cells in table_of_tasks().items()}
    state, camera = cfgs(task)[0], cfgs(f"{task}-Camera")[0]
    assert row["instruction"] == state.instruction == camera.instruction == state.instructions[0]
    seconds, steps = re.search(r"([\d.]+) s, (\d+) steps", row["episode"]).groups()
    assert float(seconds) == state.episode_length_s == camera.episode_length_s
    assert int(steps) == round(state.episode_length_s / (state.decimation * state.sim.dt))
    envs = [int(number) for number in row["default envs, state / camera"].split("/")]
    assert envs == [state.scene.num_envs, camera.scene.num_envs]
    held = re.findall(r"for ([\d.]+) s", row["success"])
    assert [float(seconds) for seconds in held] == [state.terminations.success.params["hold_s"]]
    paid = {abs(term.weight) * STEP_DT for term in vars(state.rewards).values() if term.weight}
    assert sorted(set(numbers(row["reward per step (`dense`)"]))) == pytest.approx(sorted(paid))
    sizes = numbers(row["`policy` [N, ·], state / camera variant"])
    assert sizes == [state_size(task), state_size(f"{task}-Camera")]
    assert f"[N, {camera.camera_size}, {camera.camera_size}, 3]" in row["`front`, `wrist` in the camera variant"]


def test_the_sizes_of_several_tasks_in_one_scene() -> None:
    text = page("tasks.md")
    policy, camera, envs = re.search(r"`policy` (\d+) / (\d+), `critic` \d+, (\d+) envs in both", text).groups()
    task_number = 3
    assert [int(policy), int(camera)] == [state_size(CUBES) + task_number, state_size(f"{CUBES}-Camera")]
    assert {int(envs)} == {cfgs(task)[0].scene.num_envs for task in (CUBES, f"{CUBES}-Camera")}
    seconds, steps = re.search(r"\*\*Episode\*\*: (\d+) s, (\d+) steps", text).groups()
    assert int(seconds) == cfgs(CUBES)[0].episode_length_s and int(steps) * STEP_DT == pytest.approx(int(seconds))
    for name, instruction in zip(cfgs(CUBES)[0].instruction_names(), cfgs(CUBES)[0].instructions, strict=True):
        assert f"| `{name}` | {instruction} |" in text


def test_where_a_curriculum_begins() -> None:
    """Distances of the resets [cm], shares [%], and the curriculum's own numbers."""
    text = page("tasks.md").partition("### Curriculum")[2].partition("## Limits of the arm")[0]
    rows = {name: easy + full for name, easy, full in re.findall(r"^\| ([\w-]+) \| (.+?) \|(.+?)\|$", text, re.M)}
    events = {name: cfgs(task)[0].events for name, task in TASKS.items()}
    assert numbers(rows["Reach"]) == [100 * events["Reach"].reset_goal.params["easy_share"]]
    assert numbers(rows["Pick-Place"]) == [100 * events["Pick-Place"].reset_layout.params["easy_share"]]
    for name in ("Push", "Stack"):
        params = events[name].reset_layout.params
        assert numbers(rows[name]) == pytest.approx([100 * m for m in (*params["easy_distance"], *params["distance"])])
    params = resolve_task_config(TASKS["Push"], None, overrides=["env.curriculum=on"])[0].curriculum.difficulty.params
    assert f"in steps of {params['step']}" in text and f"when {100 * params['threshold']:.0f} % of" in text
    assert f"max({params['episodes']}, num_envs)" in text


def test_physics_steps_and_rows_of_constraints() -> None:
    text = page("tasks.md")
    push, grasp = re.search(r"1/(\d+) s for Push and 1/(\d+) s for tasks that grasp", text).groups()
    assert cfgs(TASKS["Push"])[0].sim.dt == pytest.approx(1 / int(push))
    assert {round(1 / cfgs(task)[0].sim.dt) for task in (TASKS["Pick-Place"], TASKS["Stack"], CUBES)} == {int(grasp)}
    assert f"so its steps are {cfgs(TASKS['Reach'])[0].sim.dt} s" in text
    assert f"We allocate {ROWS} for one cube and {TWO_CUBE_ROWS} for two" in text


def test_the_settings_of_learning() -> None:
    """docs/learning.md names those of the shipped agents."""
    text = page("learning.md").partition("\n## Settings\n")[2].partition("\n## ")[0]
    state, camera = Gr00tFinetuneRunnerCfg(), Gr00tCameraFinetuneRunnerCfg()
    noise = re.search(r"`noise_level=([\d.]+)` on one random step \((.+?): ([\d.]+)\)", text)
    named = TASKS | {"Tabletop-Cubes": CUBES}
    few = {named[name.removesuffix("-Camera")] + "-Camera" * name.endswith("-Camera") for name in noise[2].split(", ")}
    ours = [task + end for task in [*list(TASKS.values())[1:], CUBES] for end in ("", "-Camera")]
    for task in ours:
        assert cfgs(task)[1].actor.noise_level == float(noise[3 if task in few else 1]), task
    correlated = {task for task in ours if cfgs(task)[1].actor.noise_correlation}
    assert correlated == {TASKS["Push"]}
    assert f"Push: `noise_correlation={cfgs(TASKS['Push'])[1].actor.noise_correlation}`" in text
    assert f"`init_noise_scale={state.actor.init_noise_scale}` as trained" in text
    factor = float(re.search(r"the learning rate starts at (\S+) · noise level · √KL", text)[1])
    for task in ours:
        agent = cfgs(task)[1]
        rate = factor * agent.actor.noise_level * agent.algorithm.desired_kl**0.5
        assert agent.algorithm.learning_rate == pytest.approx(rate), task
    kl = (state.algorithm.desired_kl, camera.algorithm.desired_kl)
    assert "a KL of {} per iteration ({} from pictures and for ".format(*kl) in text
    small = [named[name] for name in re.search(r"from pictures and for ([\w, -]+?)\)", text)[1].split(", ")]
    for task in ours:
        assert cfgs(task)[1].algorithm.desired_kl == kl[task.endswith("-Camera") or task in small], task
    gammas = (state.algorithm.gamma, camera.algorithm.gamma, state.algorithm.lam)
    assert "`gamma` {} per env step ({} from pictures), `lam` {} per".format(*gammas) in text
    assert state.algorithm.num_critic_warmup_iterations == 1 and "the first iteration trains the critic alone" in text


def test_tasks_and_agents_that_documents_name_are_registered() -> None:
    known = {name: spec.kwargs for name, spec in gym.registry.items() if name.startswith("Gr00t-")}
    agents = {key for kwargs in known.values() for key in kwargs if key.startswith("rsl_rl_")}
    named: set[str] = set()
    named_agents: set[str] = set()
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        tasks = set(re.findall(r"\bGr00t-[\w-]+-Franka(?:-Camera)?\b", text))
        assert tasks <= set(known), (document.name, tasks - set(known))
        found = set(re.findall(r"\brsl_rl_\w+_cfg_entry_point\b", text))
        assert found <= agents, (document.name, found - agents)
        named |= tasks
        named_agents |= found
    assert "rsl_rl_mlp_grpo_cfg_entry_point" in named_agents
    assert set(TASKS.values()) | {CUBES} <= named
    table = page("ppo_or_grpo.md").partition("## Agents")[2].replace("_grpo_…", "_grpo_cfg_entry_point")
    assert set(re.findall(r"rsl_rl_\w*cfg_entry_point", table)) == agents, "the table of agents has all"


def test_the_wrist_camera_is_left_out_as_documented() -> None:
    """docs/tasks.md: the three overrides together."""
    line = next(line for line in page("tasks.md").splitlines() if line.startswith("`env.wrist_camera=false"))
    task = f"{TASKS['Push']}-Camera"
    cfg, agent = resolve_task_config(task, AGENT, overrides=shlex.split(line.strip("`")))
    agent.device = "cpu"
    cfg.validate_config()
    assert cfg.scene.wrist is None and agent.actor.modality.video == {"front": "front"}
