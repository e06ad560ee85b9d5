# SPDX-License-Identifier: BSD-3-Clause
"""Imports inside the package run one way: no circle, and between folders as the table of CONTRIBUTING allows.

All imports count, those under ``TYPE_CHECKING`` and inside functions too: what they hide from the interpreter, a reader
still has to follow. Not counted is that importing a module runs the ``__init__`` of the packages it lies in.
"""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

EXTENSION = Path(__file__).parents[1]
PACKAGE = EXTENSION / "gr00t_rl"
CONTRIBUTING = EXTENSION.parents[1] / "CONTRIBUTING.md"
ROW = re.compile(r"^\| `(\w+)(?:/|\.py)` \|[^|]*\| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)
SIMULATOR, TRAINER = "Isaac Lab", "rsl_rl"


class Module(NamedTuple):
    """What a module imports."""

    ours: set[str]
    """Modules of the package, dotted and without the package's name: "models.export"; "" is the package itself."""
    others: set[str]
    """Top names of other packages."""


class Rule(NamedTuple):
    """A row of the table."""

    ours: tuple[str, ...] | None
    """What a folder may import of the package, folders or modules; None: everything."""
    others: set[str]
    """Which of Isaac Lab and rsl_rl it may import."""


def read_package(root: Path) -> dict[str, Module]:
    """Read the imports of all modules below ``root``."""
    files = {}
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return {name: read_module(name, file, set(files), root.name) for name, file in files.items()}


def read_module(name: str, file: Path, known: set[str], package: str) -> Module:
    """Read the imports of one file."""
    module = Module(set(), set())
    folder = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            targets = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = [package, *filter(None, folder.split("."))]
            above = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            targets = [(base, alias.name) for alias in node.names]
        else:
            continue
        for base, attribute in targets:
            top, _, inner = base.partition(".")
            if top != package:
                module.others.add(top)
                continue
            # "from .folder import name" is the module of that name where there is one, else what the folder's face has
            submodule = f"{inner}.{attribute}".strip(".")
            module.ours.add(submodule if submodule in known else inner)
    return module


def circle(package: dict[str, Module]) -> list[str]:
    """Return the modules of an import circle, each imported by the one after it; empty if there is none."""
    try:
        TopologicalSorter({name: module.ours for name, module in package.items()}).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def read_rules(text: str) -> dict[str, Rule]:
    """Read the table of what may import what: folder -> rule."""
    rules = {}
    for folder, ours, others in ROW.findall(text):
        allowed = None if ours == "everything" else tuple(re.findall(r"`([\w.]+)`", ours))
        rules[folder] = Rule(allowed, {what for what in (SIMULATOR, TRAINER) if what in others})
    return rules


def violations(package: dict[str, Module], rules: dict[str, Rule]) -> list[str]:
    """Return the imports that no row of the table allows."""
    found = []
    for name, module in package.items():
        folder = name.split(".")[0]
        if folder not in rules:
            continue
        ours, others = rules[folder]
        allowed = (folder, *(ours or ()))
        if ours is not None:
            wrong = [t for t in sorted(module.ours) if not any(t == a or t.startswith(f"{a}.") for a in allowed)]
            found += [f"{name} imports {target or 'the package itself'}" for target in wrong]
        if TRAINER not in others and TRAINER in module.others:
            found.append(f"{name} imports {TRAINER}")
        if SIMULATOR not in others and any(other.startswith("isaaclab") for other in module.others):
            found.append(f"{name} imports {SIMULATOR}")
    return found


def write_package(root: Path, **files: str) -> Path:
    """Write a package; "a__b" is the file b of the folder a."""
    for name, text in files.items():
        file = root / f"{name if name.startswith('__') else name.replace('__', '/', 1)}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_the_package_has_no_import_circle():
    package = read_package(PACKAGE)
    assert len(package) > 100
    found = circle(package)
    assert not found, f"import circle: {' <- '.join(found)}"


@pytest.mark.parametrize(
    "text",
    [
        "from .b import f",
        "import pkg.a.b",
        "from pkg.a import b",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import f",
        "def g():\n    from . import b",
        "from ..a import f",
    ],
)
def test_a_circle_is_found_however_it_is_imported(tmp_path, text):
    """The last case goes through the folder's __init__, which imports c."""
    files = {"__init__": "", "a____init__": "from .c import g", "a__b": "from ..a.c import g", "a__c": text}
    package = read_package(write_package(tmp_path / "pkg", **files))
    assert "a.c" in circle(package)
    assert circle(read_package(write_package(tmp_path / "pkg", a__c="import a.b"))) == []


def test_every_folder_has_its_row():
    """A new folder says in CONTRIBUTING what it may import; a row of a folder that is gone goes too."""
    folders = {name.split(".")[0] for name in read_package(PACKAGE)}
    assert {name for name in folders if name and not name.startswith("__")} == set(read_rules(CONTRIBUTING.read_text()))


def test_folders_import_what_their_rows_allow():
    found = violations(read_package(PACKAGE), read_rules(CONTRIBUTING.read_text()))
    assert not found, "\n".join(found)


def test_imports_that_no_row_allows_are_found(tmp_path):
    rules = read_rules(
        "| in | what | of ours | of theirs |\n|---|---|---|---|\n"
        "| `low/` | the ground | nothing | neither |\n"
        "| `middle/` | above it | `low`, `top.face` | rsl_rl |\n"
        "| `top.py` | the roof | everything | Isaac Lab, rsl_rl |\n"
    )
    files = {
        "low__a": "import torch\nimport isaaclab_rl.x\nfrom ..middle.b import f",
        "low__c": "from .a import f\nfrom rsl_rl.env import VecEnv",
        "middle__b": "from ..low import a\nfrom rsl_rl import env",
        "middle__d": "from .. import __version__\nfrom ..top import g",
        "top": "import isaaclab, rsl_rl\nfrom .low import a\nfrom .middle import b",
        "__init__": "from .top import g",
    }
    assert violations(read_package(write_package(tmp_path / "pkg", **files)), rules) == [
        "low.a imports middle.b",
        "low.a imports Isaac Lab",
        "low.c imports rsl_rl",
        "middle.d imports the package itself",
        "middle.d imports top",
    ]
