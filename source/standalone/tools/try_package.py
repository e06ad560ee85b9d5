# SPDX-License-Identifier: BSD-3-Clause
"""Build the package as it would be published, install it into an empty environment, and use it from an empty folder.

    python source/standalone/tools/try_package.py

The wheel is built from the source archive, so that both are tried. Then, outside the repository: `gr00t-rl --help`, the
README's first command, tiny, the export of what it trained, and all of docs/own_task.md, tiny: a package with a robot
of its own, from demonstrations to export. It needs uv, the network for packages, some gigabytes and, where the
simulator's kernels are not yet compiled, a few minutes. Exit status 1 says that something failed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TASK = "Gr00t-Push-Cube-Franka"
COMMANDS = (
    ("gr00t-rl", "--help"),
    ("gr00t-rl", "--version"),
    (
        *("isaaclab", "train", "--rl_library", "rsl_rl", "--task", TASK, "--device", "cpu"),
        *("--num_envs", "4", "--max_iterations", "1", "agent.num_steps_per_env=16"),
    ),
    ("gr00t-rl", "export", "--task", TASK, "--checkpoint", "latest", "--out", "exported"),
)
OWN, FEW = ("--task", "My-Robot-Reach"), ("--num_envs", "4", "--max_iterations", "1", "agent.num_steps_per_env=16")
EPISODES = ("--num_envs", "4", "--num_episodes", "4")
OWN_ROBOT = (
    ("gr00t-rl", "new", "my_robot"),
    ("uv", "pip", "install", "-e", "my_robot"),
    ("gr00t-rl", "collect", *OWN, "--episodes", "8", "--num_envs", "8", "--out", "datasets/my_robot"),
    ("gr00t-rl", "dataset", "inspect", "datasets/my_robot"),
    (
        *("gr00t-rl", "finetune", *OWN, "--dataset", "datasets/my_robot", "--checkpoint", "tiny"),
        *("--out", "checkpoints/my_robot", "--steps", "2", "--batch_size", "4", "--draws", "1", "--patch_size", "16"),
    ),
    ("gr00t-rl", "evaluate", *OWN, "--checkpoint", "base", *EPISODES),
    ("gr00t-rl", "train", *OWN, "--device", "cpu", *FEW),
    ("isaaclab", "train", "--rl_library", "rsl_rl", *OWN, "--device", "cpu", *FEW),
    ("gr00t-rl", "export", *OWN, "--checkpoint", "latest", "--out", "checkpoints/lifted"),
    ("gr00t-rl", "evaluate", *OWN, "--checkpoint", "checkpoints/lifted", *EPISODES),
)
"""The commands of docs/own_task.md, tiny."""
MADE = ("logs/rsl_rl/*/*/model_0.pt", "exported/config.json", "checkpoints/lifted/config.json")


def run(command: tuple[str, ...], folder: Path, env: Path | None = None) -> None:
    """Run a command in ``folder`` without what would let it find the repository; ends the program if it fails.

    Args:
        command: Program and arguments.
        folder: Where it runs.
        env: The environment that uv installs into, where the command says none.
    """
    print(f"==> {' '.join(command)}", flush=True)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"OMP_NUM_THREADS": "1"} | ({"VIRTUAL_ENV": str(env)} if env is not None else {})
    done = subprocess.run(command, cwd=folder, env=environment)
    if done.returncode:
        sys.exit(f"try_package: {command[0]} failed with exit status {done.returncode}, see above")


def main() -> None:
    """Build, install, run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where everything is made and stays (a temporary one without)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.folder or Path(temporary)).resolve()
        source, dist, env, empty = (folder / name for name in ("source", "dist", "env", "empty"))
        empty.mkdir(parents=True)
        ignored = shutil.ignore_patterns("*.egg-info", "build", "__pycache__")
        shutil.copytree(ROOT / "exts" / "gr00t_rl", source, ignore=ignored)  # a build leaves files beside the source
        run(("uv", "build", "--python", sys.executable, str(source), "--out-dir", str(dist)), folder)
        (wheel,) = dist.glob("*.whl")
        run(("uv", "venv", "--python", sys.executable, str(env)), folder)
        constraints = ("--constraint", str(ROOT / "constraints.txt"))
        run(("uv", "pip", "install", "--python", str(env), f"{wheel}[isaaclab,data,report]", *constraints), folder)
        for command in (*COMMANDS, *OWN_ROBOT):
            program = command[0] if command[0] == "uv" else str(env / "bin" / command[0])
            run((program, *command[1:]), empty, env)
        if missing := [pattern for pattern in MADE if not list(empty.glob(pattern))]:
            sys.exit(f"try_package: {', '.join(missing)} was not made")
        print(f"==> {wheel.name} and its source archive work")


if __name__ == "__main__":
    main()
