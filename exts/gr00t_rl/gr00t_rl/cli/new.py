# SPDX-License-Identifier: BSD-3-Clause
"""``gr00t-rl new``: a package with a robot and a task of your own, to change."""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ..utils.errors import ConfigurationError
from ..utils.whole_files import write_whole
from . import verb_parser

DESCRIPTION = """Write a package with a robot and a task of your own: a two-joint arm that reaches a ball which it sees
in two pictures. It works as it is: collect, finetune, train, evaluate, export. Then change it, file by file:

  arm.usda, arm.py    the robot
  env_cfg.py, mdp.py  the task
  expert.py           the scripted expert that demonstrations come from
  agent_cfg.py        how GR00T reads the task, and how it is trained"""
EXAMPLES = """
  gr00t-rl new my_robot
  pip install -e my_robot
  gr00t-rl collect --task My-Robot-Reach --episodes 240 --out datasets/my_robot --privileged tip_to_goal"""
EXAMPLE = Path(__file__).parents[1] / "example"
"""What is copied."""
NAME = "my_robot"
"""Name of the package there."""


def build_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = verb_parser("new", DESCRIPTION, EXAMPLES)
    parser.add_argument("name", help="name of the package, such as my_robot")
    parser.add_argument("--out", type=Path, help="folder to write (default: one of that name, here)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the package.

    Raises:
        ConfigurationError: The name is none, or taken, or the folder holds something.
    """
    args = build_parser().parse_args(sys.argv[1:] if argv is None else argv)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", args.name) or keyword.iskeyword(args.name):
        raise ConfigurationError(f"name is {args.name!r}; set lower-case letters, digits and _, such as my_robot")
    out = args.out or Path(args.name)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigurationError(f"{out} exists and is not empty; give another name, or --out")
    if args.name in sys.stdlib_module_names or (not out.exists() and importlib.util.find_spec(args.name) is not None):
        raise ConfigurationError(f"name is {args.name!r}, which is a package here already; give another one")
    for file in files():
        text = file.read_text(encoding="utf-8").replace(NAME, args.name).replace(words(NAME), words(args.name))
        write_whole(out / str(file.relative_to(EXAMPLE)).replace(NAME, args.name), text.encode())
    pip = "pip" if importlib.util.find_spec("pip") else "uv pip"  # a clone's environment has no pip of its own
    print(f"{out}: task {words(args.name)}-Reach; next: {pip} install -e {out}")
    return 0


def files() -> list[Path]:
    """The files of the example, without what Python leaves beside them."""
    return sorted(file for file in EXAMPLE.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def words(name: str) -> str:
    """A package's name as the beginning of its tasks' ids: my_robot is My-Robot."""
    return "-".join(word.capitalize() for word in name.split("_") if word)
