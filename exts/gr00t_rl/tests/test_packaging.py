"""What pip, uv, Kit and Isaac Lab read about the package agrees, and the repository names no machine."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
from packaging.requirements import Requirement

import gr00t_rl

EXTENSION = Path(__file__).parents[1]
ROOT = EXTENSION.parents[1]
# The patterns are put together here so that this file does not match them.
HOST = re.compile("|".join(["pypi" + r"\.org", "python" + "hosted", "deb" + r"\.debian", "npmjs" + r"\.(org|com)"]))
MACHINE_PATH = re.compile(r"(?<![\w.])/(" + "|".join(["work", "root", "farm"]) + ")/")
LOCK_FILE = re.compile(r"(^|/)(uv|poetry|pdm|package-lock)\.(lock|json)$")


def load_toml(path: Path) -> dict:
    """Parse a TOML file."""
    return tomllib.loads(path.read_text())


def base_requirements() -> dict[str, Requirement]:
    """The installed package's requirements without its extras, by name."""
    requirements = [Requirement(text) for text in metadata.requires("gr00t_rl") or []]
    return {requirement.name: requirement for requirement in requirements if not requirement.marker}


def project_files() -> list[str]:
    """Tracked files, and new ones that git does not ignore, relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_version_has_one_source():
    """The installed metadata carries the version of extension.toml."""
    version = load_toml(EXTENSION / "config" / "extension.toml")["package"]["version"]
    assert metadata.version("gr00t_rl") == gr00t_rl.__version__ == version


def test_isaac_lab_finds_the_tasks():
    """The entry point that `isaaclab train` loads names our task package."""
    found = metadata.entry_points(group="isaaclab.tasks", name="gr00t_rl")
    assert [entry.value for entry in found] == ["gr00t_rl.tasks"]


def test_installing_leaves_isaac_lab_alone():
    """No base requirement names Isaac Lab, pins a version, or rejects what Isaac Lab 3.0 brings."""
    requirements = base_requirements()
    assert not [name for name in requirements if name.startswith("isaaclab")]
    assert not [str(r) for r in requirements.values() if "==" in str(r.specifier)]
    for name, version in {"torch": "2.11.0", "transformers": "5.10.4", "rsl-rl-lib": "5.5.1"}.items():
        assert requirements[name].specifier.contains(version), requirements[name]


def test_rsl_rl_range():
    """The model, algorithm and logger interfaces we use exist from 5.4.2 to 5.5."""
    allowed = base_requirements()["rsl-rl-lib"].specifier
    inside = {version: allowed.contains(version) for version in ("5.4.1", "5.4.2", "5.5.1", "5.6.0")}
    assert inside == {"5.4.1": False, "5.4.2": True, "5.5.1": True, "5.6.0": False}


def test_constraints_are_the_pins_of_pyproject():
    """pip and uv users get the same versions; `python .ci/pin.py` writes both lists."""
    pins = load_toml(ROOT / "pyproject.toml")["tool"]["uv"]["constraint-dependencies"]
    assert (ROOT / "constraints.txt").read_text().split() == pins
    assert all("==" in pin for pin in pins)


@pytest.mark.slow
def test_wheel_contains_assets(tmp_path: Path):
    """A wheel, not just the editable install, brings every asset, py.typed and no compiled leftovers."""
    ignored = ignore_patterns("*.egg-info", "build", "__pycache__", "tests")
    source = copytree(EXTENSION, tmp_path / "src", ignore=ignored)
    (source / "gr00t_rl" / "assets" / "left_over.pyc").touch()
    build = [sys.executable, "setup.py", "--quiet", "bdist_wheel", "--dist-dir", str(tmp_path)]
    built = subprocess.run(build, cwd=source, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("gr00t_rl-*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("gr00t_rl/")}

    folders = [EXTENSION / "gr00t_rl" / name for name in ("assets", "example")]
    assets = [p for folder in folders for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc"]
    expected = {str(path.relative_to(EXTENSION)) for path in assets} | {"gr00t_rl/py.typed"}
    assert any(name.endswith((".usd", ".usda")) for name in expected)
    assert expected <= names, sorted(expected - names)
    assert not [name for name in names if name.endswith(".pyc")]


def test_no_lock_files_hosts_or_machine_paths():
    """Nothing in the repository ties it to the machine or the package index of whoever wrote it."""
    found = []
    for name in project_files():
        if LOCK_FILE.search(name):
            found.append(f"{name}: lock file")
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if HOST.search(line) or MACHINE_PATH.search(line):
                found.append(f"{name}:{number}: {line.strip()[:80]}")
    assert not found, "\n".join(found)


def test_json_files_are_strict():
    """Every JSON file of the repository can be read outside Python: no NaN, no Infinity, no broken syntax."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    files = [name for name in project_files() if name.endswith(".json")]
    assert any(name.startswith("docs/results/") for name in files)
    broken = []
    for name in files:
        try:
            json.loads((ROOT / name).read_text(encoding="utf-8"), parse_constant=refuse)
        except ValueError as error:
            broken.append(f"{name}: {error}")
    assert not broken, "\n".join(broken)
