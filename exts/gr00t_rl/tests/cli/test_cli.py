# SPDX-License-Identifier: BSD-3-Clause
"""The command: fast help, examples that parse, mistakes and missing packages in one line."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gr00t_rl import cli
from gr00t_rl.utils.errors import ConfigurationError

VERBS = sorted(cli.VERBS)
HEAVY = {
    "torch",
    "isaaclab",
    "isaaclab_rl",
    "isaaclab_tasks",
    "rsl_rl",
    "transformers",
    "tensordict",
    "numpy",
    "pyarrow",
}


OVERRIDE = r"(env|agent)\.[\w.]+=|physics="


def module_of(verb: str):
    return importlib.import_module(f"gr00t_rl.cli.{verb.replace('-', '_')}")


_HELP = f"""
import sys, time
from gr00t_rl.cli import VERBS, main
for arguments in [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)]:
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code or 0
    assert status == 0, arguments
loaded = {HEAVY} & sys.modules.keys()
assert not loaded, f"help loads {{loaded}}"
"""


def test_no_help_loads_a_heavy_library():
    """Of the command and of every verb; without them it takes a tenth of a second, and more than four with torch."""
    done = subprocess.run([sys.executable, "-c", _HELP], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(f"usage: gr00t-rl {verb} " in done.stdout for verb in VERBS)


def test_help_names_the_verbs(capsys):
    for arguments in ([], ["--help"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == 0
        text = capsys.readouterr().out
        assert all(re.search(rf"^  {verb} +\w", text, re.MULTILINE) for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_examples_are_commands_that_the_verb_reads(verb, capsys):
    """Every example of a verb's help parses, placeholders and overrides included; a verb has at least one."""
    with pytest.raises(SystemExit):
        module_of(verb).build_parser().parse_args(["--help"])
    text = capsys.readouterr().out.split("examples:")[1].replace("\\\n", " ")
    commands = [shlex.split(part) for line in text.splitlines() for part in line.split("&&") if "gr00t-rl" in line]
    assert [command for command in commands if command[1] == verb]
    for command in commands:
        assert command[0] == "gr00t-rl" and command[1] in VERBS
        args, rest = module_of(command[1]).build_parser().parse_known_args(cli.overrides_first(command[2:]))
        assert not any(re.match(OVERRIDE, str(entry)) for value in vars(args).values() for entry in _entries(value))
        assert all(re.match(OVERRIDE, word) for word in rest), (command, rest)


def _entries(value):
    return value if isinstance(value, list) else [value]


def _actions(parser):
    """Actions of a parser and of those below it."""
    for action in parser._actions:
        yield action
        for below in (action.choices or {}).values() if isinstance(action.choices, dict) else ():
            if isinstance(below, argparse.ArgumentParser):
                yield from _actions(below)


SPOKEN = ("estimate", "device")
"""Its help tells in words which device the program chooses."""


@pytest.mark.parametrize("verb", VERBS)
def test_help_tells_the_defaults_that_there_are(verb):
    """The number or name after "default" in an option's help is the parser's own."""
    for action in _actions(module_of(verb).build_parser()):
        value = action.default
        if isinstance(value, bool | list | None) or value == argparse.SUPPRESS or (verb, action.dest) == SPOKEN:
            continue
        told = re.search(r"\bdefault:? ([\w.]+)", action.help or "")
        assert told is not None, f"--{action.dest} of {verb} does not tell its default"
        shown = told[1].rstrip(".")
        assert shown == value if isinstance(value, str) else float(shown) == value, (verb, action.dest, shown, value)


def test_overrides_after_an_option_of_several_values_are_not_among_them():
    argv = ["--privileged", "a", "b", "env.x=1", "--compare", "r=1", "physics=ovphysx", "--seed", "1"]
    assert cli.overrides_first(argv) == [
        "env.x=1", "physics=ovphysx", "--privileged", "a", "b", "--compare", "r=1", "--seed", "1",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["train", "play"])
def test_options_in_help_are_isaac_labs(verb, capsys):
    """`train` and `play` hand their command line on: their help must not promise what Isaac Lab does not read."""
    options = {option for action in module_of(verb).build_parser()._actions for option in action.option_strings}
    if verb == "train":  # what the launcher of several processes takes off it
        options -= {
            option for action in module_of(verb)._processes_parser()._actions for option in action.option_strings
        }
    from isaaclab_rl.entrypoints.dispatch import run_cli

    with pytest.raises(SystemExit) as stop:
        run_cli(verb, ["--rl_library", "rsl_rl", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert not [option for option in options if not re.search(rf"{option}\b", text)]


def test_an_unknown_verb_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["trian", "--task", "x"])
    assert stop.value.code == 2
    assert "'trian' (choose from " in capsys.readouterr().err


@pytest.mark.parametrize(("module", "extra"), [("isaaclab", "isaaclab"), ("pyarrow", "data"), ("matplotlib", "report")])
def test_a_missing_package_ends_in_one_line_that_names_the_extra(module, extra, monkeypatch):
    def lacking(argv):
        raise ModuleNotFoundError(f"No module named '{module}.app'", name=f"{module}.app")

    monkeypatch.setattr(module_of("export"), "main", lacking)
    with pytest.raises(
        ConfigurationError, match=rf"export needs {module}, .* pip install 'gr00t_rl\[{extra}\]'"
    ) as error:
        cli.main(["export"])
    assert "\n" not in str(error.value)


def test_other_missing_modules_are_faults_of_ours(monkeypatch):
    def broken(argv):
        raise ModuleNotFoundError("No module named 'gr00t_rl.gone'", name="gr00t_rl.gone")

    monkeypatch.setattr(module_of("export"), "main", broken)
    with pytest.raises(ModuleNotFoundError, match="gone"):
        cli.main(["export"])


def test_extras_of_the_package_exist():
    """What a message tells to install is in pyproject.toml, where the command is declared too."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert cli.EXTRAS.keys() <= project["optional-dependencies"].keys()
    assert project["scripts"] == {"gr00t-rl": "gr00t_rl.cli:main"}


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["train", "play", "evaluate"])
def test_an_unknown_task_ends_in_one_line(verb):
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "gr00t_rl", verb, "--task", "Gr00t-Reach-Frank"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 2
    assert "unknown task 'Gr00t-Reach-Frank', did you mean Gr00t-Reach-Franka?" in done.stderr
    assert "Traceback" not in done.stderr


def test_export_of_what_is_no_run_ends_in_one_line(tmp_path):
    (tmp_path / "model_0.pt").write_bytes(b"half a file")
    with pytest.raises(ConfigurationError, match=r"model_0.pt cannot be read .* set another model_N.pt") as error:
        cli.main(["export", "--checkpoint", str(tmp_path / "model_0.pt"), "--out", str(tmp_path / "out")])
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("agent", [None, "rsl_rl_grpo_cfg_entry_point"])
def test_misspelt_sections_of_overrides_are_told_in_one_line(agent):
    """Isaac Lab sets a section's fields before anything of ours is asked, and a section that is not there is fatal."""
    import gr00t_rl.tasks  # noqa: F401
    from gr00t_rl.cli.simulated import check_overrides

    task, known = "Gr00t-Push-Cube-Franka", ["env.camera_size=64", "agent.algorithm.parts.dit.learning_rate=1e-5"]
    assert check_overrides(task, known, agent) is None
    wrong = {"agent.algorithm.parts.dot.learning_rate=1": "dot", "agent.algorithms.gamma=1": "algorithms"}
    for override, name in {**wrong, "env.scenes.num_envs=1": "scenes"}.items():
        found = check_overrides(task, [*known, override], agent)
        assert found is not None and f"'{name}'" in found and "\n" not in found


# -- several processes -------------------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch):
    """What ``train`` would start, of one process and of several."""
    from gr00t_rl.cli import train

    calls = []
    monkeypatch.setattr(train, "launch", lambda action, parser, argv: calls.append(argv) or 0)
    monkeypatch.setattr(
        train, "run_processes", lambda worker, count, cluster, _: calls.append((worker, count, cluster))
    )
    monkeypatch.setattr(train, "restart_on_sigterm", lambda: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return calls


def test_one_process_is_started_as_ever(started):
    argv = ["--task", "T", "--checkpoint", "latest", "agent.seed=3"]
    assert cli.main(["train", *argv]) == 0 and started.pop() == argv
    assert cli.main(["train", *argv, "--device", "cpu", "--processes", "1"]) == 0
    assert started.pop() == [*argv, "--device", "cpu"]


def test_several_processes_share_a_command_line_and_a_folder(started, capsys):
    cli.main(["train", "--task", "T", "--processes", "2", "--device", "cpu", "--num_envs", "4", "agent.seed=3"])
    worker, count, cluster = started.pop()
    assert worker[:2] == ["--module", "gr00t_rl.cli.worker"] and (count, cluster) == (2, [])
    assert worker[2:7] == ["--task", "T", "--num_envs", "4", "agent.seed=3"]
    assert "--distributed" in worker and worker[-2:] == ["--device", "cpu"]
    assert [arg for arg in worker if re.fullmatch(r"--run_timestamp=\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", arg)]
    assert "--num_envs counts for each process" in capsys.readouterr().out


def test_flags_of_several_machines_go_to_torchrun(started):
    """The first process names the folder, whose machine nobody knows yet."""
    flags = ["--nnodes", "2", "--node-rank=1", "--master_addr", "10.0.0.1", "--processes", "4"]
    cli.main(["train", "--task", "T", "--device", "cpu", *flags])
    worker, count, cluster = started.pop()
    assert (count, cluster) == (4, ["--nnodes=2", "--node_rank=1", "--master_addr=10.0.0.1"])
    assert not [arg for arg in worker if arg.startswith(("--nnodes", "--run_timestamp", "--processes"))]
    with pytest.raises(ConfigurationError, match="--nnodes"):
        cli.main(["train", "--task", "T", "--node_rank", "1"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "nonsense"], "there is no such device; set cpu, or cuda:0"),
        (["--memory", "5XB"], "--memory is '5XB'; set a size such as 80GB"),
        (["--num_envs", "0"], "--num_envs is 0; set an integer of at least 1"),
        (["--agent", "rsl_rl_mlp_cfg_entry_point"], "has no GR00T actor"),
    ],
)
def test_estimate_refuses_what_there_is_not(arguments, message):
    import gr00t_rl.tasks  # noqa: F401  # registers them
    from gr00t_rl.cli import estimate

    with pytest.raises(ConfigurationError, match=message) as error:
        estimate._estimate(["--task", "Gr00t-Push-Cube-Franka", *arguments])
    assert "\n" not in str(error.value)
