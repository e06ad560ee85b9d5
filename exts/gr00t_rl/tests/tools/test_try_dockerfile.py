# SPDX-License-Identifier: BSD-3-Clause
"""The Dockerfiles, .dockerignore, the compose file and the documents agree; a Dockerfile is read as engines read it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from run_documented_commands import documented_commands
from try_dockerfile import ROOT, Instruction, context, copies, environment_of, is_ignored, read_dockerfile

from gr00t_rl.cli import VERBS
from gr00t_rl.cli.train import build_parser

LEAN, ISAAC_LAB = "docker/Dockerfile.lean", "docker/Dockerfile"
ONLY_LEAN = {"VIRTUAL_ENV", "PATH", "UV_CACHE_DIR", "UV_COMPILE_BYTECODE", "UV_LINK_MODE", "UV_PYTHON_DOWNLOADS"}
ONLY_LEAN |= {"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}
ONLY_ISAAC_LAB = {"ISAACLAB_PATH"}


def steps(dockerfile: str, name: str) -> list[Instruction]:
    """Return the instructions of a name, in order."""
    return [step for step in read_dockerfile((ROOT / dockerfile).read_text()) if step.name == name]


def compose() -> dict[str, Any]:
    """Return the compose file."""
    return yaml.safe_load((ROOT / "docker" / "docker-compose.yaml").read_text())


def test_a_dockerfile_is_read_as_an_engine_reads_it() -> None:
    text = 'ARG A="x y"\n# comment\nRUN --mount=type=cache --network=none a \\\n    # in between\n    && b "c d"\n'
    text += 'CMD ["e"]\n'
    assert read_dockerfile(text) == [
        Instruction("ARG", 'A="x y"', (), 1),
        Instruction("RUN", 'a && b "c d"', ("--mount=type=cache", "--network=none"), 3),
        Instruction("CMD", '["e"]', (), 6),
    ]
    assert environment_of(read_dockerfile('ENV A=1 \\\n  B="2 3"\nENV A=4\n')) == {"A": "4", "B": "2 3"}
    with pytest.raises(ValueError, match="line 2"):
        read_dockerfile("FROM x\nfrom here\n")


@pytest.mark.parametrize(
    ("name", "ignored"),
    [
        ("docker/Dockerfile", True),
        ("docs/docker/a", False),
        ("logs/rsl_rl/a", True),
        ("x/logs/a", False),
        ("a/b/__pycache__/c.pyc", True),
        (".env", True),
        ("x/.env.local", True),
        ("docker/keep.sh", False),
        ("a/x.log", False),
        ("x.log", True),
    ],
)
def test_what_dockerignore_leaves_out(name: str, ignored: bool) -> None:
    patterns = ["docker", "!docker/keep.sh", "/logs", "**/__pycache__", "**/.env*", "*.log"]
    assert is_ignored(name, patterns) is ignored


def test_copies() -> None:
    files = ["a.txt", "b/c.txt", "b/d/e.txt"]
    assert copies(Instruction("COPY", "a.txt ./"), files) == {"a.txt": "./a.txt"}
    assert copies(Instruction("COPY", "a.txt b/c.txt x/"), files) == {"a.txt": "x/a.txt", "b/c.txt": "x/c.txt"}
    assert copies(Instruction("COPY", "b y"), files) == {"b/c.txt": "y/c.txt", "b/d/e.txt": "y/d/e.txt"}
    assert copies(Instruction("COPY", ". ."), files) == {name: f"./{name}" for name in files}
    with pytest.raises(ValueError, match="line 7: COPY gone"):
        copies(Instruction("COPY", "gone .", (), 7), files)


@pytest.mark.parametrize("dockerfile", [LEAN, ISAAC_LAB])
def test_what_is_copied_is_there(dockerfile: str) -> None:
    files = context()
    written = {target for step in steps(dockerfile, "COPY") for target in copies(step, files).values()}
    assert {"./exts/gr00t_rl/gr00t_rl/cfg.py", "./scripts/spot.sh", "./constraints.txt"} <= written
    assert not [name for name in files if name.startswith((".git/", "docker/", "logs/"))]


def test_both_images_have_the_same_user_folders_and_settings() -> None:
    lean, isaac_lab = (environment_of(steps(file, "ENV")) for file in (LEAN, ISAAC_LAB))
    assert {k: v for k, v in lean.items() if k not in ONLY_LEAN} == {
        k: v for k, v in isaac_lab.items() if k not in ONLY_ISAAC_LAB
    }
    for file in (LEAN, ISAAC_LAB):
        assert steps(file, "USER")[-1].text == "1000:1000"
        assert [step.text for step in steps(file, "WORKDIR")] == ["/workspace/gr00t_rl"]
        assert {flag for step in steps(file, "COPY") for flag in step.flags} == {"--chown=1000:1000"}


def test_both_images_install_the_same_extras() -> None:
    extras = {}
    for file in (LEAN, ISAAC_LAB):
        (found,) = re.findall(r"-e 'exts/gr00t_rl\[([\w,]+)\]'", " ".join(step.text for step in steps(file, "RUN")))
        extras[file] = set(found.split(","))
    assert extras[LEAN] == extras[ISAAC_LAB] | {"isaaclab"}


@pytest.mark.parametrize("dockerfile", [LEAN, ISAAC_LAB])
def test_the_base_is_pinned_and_nothing_secret_is_set(dockerfile: str) -> None:
    (base,) = (step.text for step in steps(dockerfile, "ARG") if "IMAGE" in step.text)
    assert re.fullmatch(r"\w+=[\w./-]+:3\.(0\.0|12\.\d+)-[\w-]+", base)
    names = " ".join(step.text for step in steps(dockerfile, "ENV") + steps(dockerfile, "ARG"))
    assert not re.search(r"(?i)token|secret|password|api_?key", names)


@pytest.mark.parametrize(("service", "dockerfile"), [("lean", LEAN), ("isaac-lab", ISAAC_LAB)])
def test_the_compose_file_mounts_the_folders_that_the_image_makes(service: str, dockerfile: str) -> None:
    declared = compose()["services"][service]
    context_folder = (ROOT / "docker" / declared["build"]["context"]).resolve()
    assert context_folder == ROOT and declared["build"]["dockerfile"] == dockerfile
    mounted = dict(volume.split(":") for volume in declared["volumes"])
    assert set(mounted) == set(compose()["volumes"])
    (made,) = re.findall(r"mkdir -p ([^&]+) ", " ".join(step.text for step in steps(dockerfile, "RUN")))
    assert set(mounted.values()) == set(made.split())
    written = {name: value for name, value in environment_of(steps(dockerfile, "ENV")).items() if "gr00t_rl" in value}
    inside = [name for name in written if any(Path(written[name]).is_relative_to(to) for to in mounted.values())]
    assert {"WARP_CACHE_PATH", "HF_HOME", "WANDB_DIR"} <= set(inside)
    assert declared["init"] and declared["stop_grace_period"] == "2m"


def test_the_command_of_the_lean_image_is_one() -> None:
    program, verb = json.loads(steps(LEAN, "CMD")[-1].text)
    assert program == "gr00t-rl" and verb in VERBS


def test_the_training_lines_of_the_documents_are_understood() -> None:
    """Most are never run: they need Docker, a GPU or a second machine."""
    commands, _ = documented_commands()
    lines = [command for command in commands if command.document in ("docs/cloud.md", "docker/README.md")]
    trainings = [re.search(r"(?:gr00t-rl|-m gr00t_rl) train (.*)", command.text) for command in lines]
    arguments = [shlex.split(match[1]) for match in trainings if match]
    assert len(arguments) >= 6
    for words in arguments:
        known, others = build_parser().parse_known_args(words)
        assert known.task.startswith("Gr00t-") and all(re.match(r"agent\.\w+=", word) for word in others), words
    mounted = {match for command in lines for match in re.findall(r"-v \S+?:(/[\w/]+)", " ".join(command.prelude))}
    assert mounted == {volume.split(":")[1] for volume in compose()["services"]["lean"]["volumes"]}
