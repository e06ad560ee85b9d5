# SPDX-License-Identifier: BSD-3-Clause
"""Run the install steps of docker/Dockerfile.lean in an empty environment, where there is no engine for containers.

    python source/standalone/tools/try_dockerfile.py            # what CI does: install, and see that it fits together
    python source/standalone/tools/try_dockerfile.py --train    # then README's first command, tiny

The file is read step by step, as an engine would: COPY copies into an empty folder what .dockerignore lets through, and
every RUN that begins with pip or uv is run there, with that folder in place of the image's. What needs root or an image
is named and left out. It needs the network for packages, or uv's cache of them. Exit status 1 says that a step failed.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = ROOT / "docker" / "Dockerfile.lean"
NOT_HERE = ("UV_CACHE_DIR", "UV_COMPILE_BYTECODE", "UV_LINK_MODE")
"""Settings of the image that only cost time here."""
TRAIN = "gr00t-rl train --task Gr00t-Push-Cube-Franka --device cpu --num_envs 4 --max_iterations 1"
TRAIN += " agent.num_steps_per_env=16"


@dataclass(frozen=True)
class Instruction:
    """An instruction of a Dockerfile: its name, and its arguments without flags and line breaks."""

    name: str
    text: str
    flags: tuple[str, ...] = ()
    line: int = 0


def read_dockerfile(text: str) -> list[Instruction]:
    """Return the instructions of a Dockerfile in order. Raises ValueError at one that it cannot read."""
    found, joined, start = [], "", 0
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if line.lstrip().startswith("#"):
            continue  # a comment does not end an instruction
        start = start if joined else number
        joined += line.strip()
        if joined.endswith("\\"):
            joined = joined[:-1].rstrip() + " "
            continue
        if joined:
            match = re.fullmatch(r"([A-Z]+)((?: --\S+)*) (.*)", joined)
            if match is None:
                raise ValueError(f"line {start}: {joined[:60]!r} is no instruction")
            found.append(Instruction(match[1], match[3].strip(), tuple(match[2].split()), start))
        joined = ""
    return found


def environment_of(instructions: list[Instruction]) -> dict[str, str]:
    """Return what ENV sets, as it is written."""
    pairs = [shlex.split(step.text) for step in instructions if step.name == "ENV"]
    return dict(pair.split("=", 1) for words in pairs for pair in words)


def is_ignored(name: str, patterns: list[str]) -> bool:
    """Whether .dockerignore hides a file of the repository from an engine; the last pattern that fits counts."""
    parents = ["/".join(name.split("/")[: depth + 1]) for depth in range(name.count("/") + 1)]
    ignored = False
    for pattern in patterns:
        wanted = pattern.lstrip("!").strip("/")
        anywhere = wanted.removeprefix("**/")
        # fnmatch's * crosses slashes, so a pattern is compared with names of as many parts
        names = [path for path in parents if path.count("/") == wanted.count("/")]
        if anywhere != wanted:
            names = ["/".join(path.split("/")[-1 - anywhere.count("/") :]) for path in parents]
        if any(fnmatchcase(path, anywhere) for path in names):
            ignored = not pattern.startswith("!")
    return ignored


def ignore_patterns(root: Path = ROOT) -> list[str]:
    """Return the patterns of .dockerignore."""
    lines = (root / ".dockerignore").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def context(root: Path = ROOT) -> list[str]:
    """Return the files that an engine gets: those of git and new ones, without what .dockerignore leaves out."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()
    patterns = ignore_patterns(root)
    return [name for name in names if (root / name).is_file() and not is_ignored(name, patterns)]


def copies(step: Instruction, files: list[str]) -> dict[str, str]:
    """Return what a COPY writes: targets by the files that they are copied from.

    Raises:
        ValueError: A source is not there, or .dockerignore leaves it out.
    """
    *sources, target = step.text.split()
    into = target.rstrip("/")
    found: dict[str, str] = {}
    for source in (source.rstrip("/") for source in sources):
        if source in files:
            directory = target.endswith(("/", "."))
            found[source] = f"{into}/{Path(source).name}" if directory else into
            continue
        inside = [name for name in files if source == "." or name.startswith(f"{source}/")]
        if not inside:
            raise ValueError(f"line {step.line}: COPY {source}: there is no such file, or .dockerignore leaves it out")
        for name in inside:
            found[name] = f"{into}/{name if source == '.' else name.removeprefix(f'{source}/')}"
    return found


def run(command: list[str], folder: Path, env: dict[str, str]) -> None:
    """Run a command; ends the program if it fails, with what it printed."""
    done = subprocess.run(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout[-4000:]}\ntry_dockerfile: {' '.join(command)[:300]} failed, see above")


def install(folder: Path) -> tuple[Path, dict[str, str]]:
    """Do what the Dockerfile does, as far as it can be done here; returns the workspace and its environment."""
    instructions = read_dockerfile(DOCKERFILE.read_text())
    image, workspace, environment = (folder / name for name in ("image", "workspace", "environment"))
    workspace.mkdir()
    run([sys.executable, "-m", "venv", str(image)], folder, dict(os.environ))
    settings = {name: value for name, value in environment_of(instructions).items() if name not in NOT_HERE}
    foreign = ("PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME")
    env = {name: value for name, value in os.environ.items() if name not in foreign}
    # uv makes an environment from a Python that is in none itself, as the image's
    python = Path(sys.base_prefix) / "bin"
    env["PATH"] = os.pathsep.join(map(str, (environment / "bin", image / "bin", python, "/usr/bin", "/bin")))
    env |= {name: value for name, value in settings.items() if name.startswith("UV_")}
    env |= {"VIRTUAL_ENV": str(environment)}
    files = context()
    for step in instructions:
        if step.name == "COPY":
            for source, target in copies(step, files).items():
                (workspace / target).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / source, workspace / target)
        elif step.name == "RUN":
            began = time.monotonic()
            if step.text.split()[0] not in ("pip", "uv"):
                print(f"not here: {step.text}", flush=True)
                continue
            run(["sh", "-euc", step.text], workspace, env)
            print(f"{time.monotonic() - began:4.0f} s  {step.text}", flush=True)
    return workspace, env


def main() -> None:
    """Install, then run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--train", action="store_true", help="run README's first command in it, tiny (a minute or more)"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        workspace, env = install(Path(temporary))
        checks = ["uv pip check", "gr00t-rl --version", "gr00t-rl train --help", "isaaclab --help"]
        if args.train:
            checks += ["gr00t-rl doctor", TRAIN]
        for command in checks:
            began = time.monotonic()
            run(command.split(), workspace, env | {"OMP_NUM_THREADS": "1"})
            print(f"{time.monotonic() - began:4.0f} s  {command}", flush=True)
        if args.train and not list(workspace.glob("logs/rsl_rl/*/*/model_0.pt")):
            sys.exit("try_dockerfile: the training wrote no model_0.pt")
    print("the install steps of docker/Dockerfile.lean work")


if __name__ == "__main__":
    main()
