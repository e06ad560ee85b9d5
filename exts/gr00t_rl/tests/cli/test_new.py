# SPDX-License-Identifier: BSD-3-Clause
"""`gr00t-rl new`: what it writes, and what it refuses. That it works is tested in tasks/test_example.py."""

import ast
import tomllib
from pathlib import Path

import pytest

from gr00t_rl.cli import new
from gr00t_rl.utils.errors import ConfigurationError


def test_the_package_has_its_new_name_everywhere(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    new.main(["two_links"])
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert len(written) == len(new.files()) and "two_links/two_links/arm.usda" in written
    project = tomllib.loads(Path("two_links/pyproject.toml").read_text())
    assert project["project"]["name"] == "two_links"
    assert project["project"]["entry-points"]["isaaclab.tasks"] == {"two_links": "two_links"}
    texts = {path: (tmp_path / path).read_text() for path in written}
    assert 'id="Two-Links-Reach"' in texts["two_links/two_links/__init__.py"]
    assert not [path for path, text in texts.items() if new.NAME in text or new.words(new.NAME) in text]


def test_it_imports_nothing_private() -> None:
    """A user copies these imports."""
    for file in new.files():
        if file.suffix == ".py":
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gr00t_rl"):
                    assert not [alias.name for alias in node.names if alias.name.startswith("_")], file


@pytest.mark.parametrize("name", ["My-Robot", "2links", "class", "a/b", ""])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="set lower-case letters, digits and _, such as my_robot"):
        new.main([name])


def test_nothing_is_overwritten(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("json", "torch"):
        with pytest.raises(ConfigurationError, match=f"name is '{name}', which is a package here already"):
            new.main([name])
    new.main(["two_links", "--out", "there"])
    with pytest.raises(ConfigurationError, match="there exists and is not empty; give another name, or --out"):
        new.main(["two_links", "--out", "there"])
