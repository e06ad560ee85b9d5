# SPDX-License-Identifier: BSD-3-Clause
"""The documents name files, tests and options that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "exts" / "gr00t_rl"
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "docker").rglob("*.md")]
DOCUMENTS += [PACKAGE / "gr00t_rl" / "assets" / "checkpoints" / "README.md"]
TESTS = {
    name for file in (PACKAGE / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
}


def prose(text: str) -> str:
    """Leave out blocks of code, which name files of other places."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def missing_in(text: str, folder: Path) -> list[str]:
    """Return what a document in ``folder`` names and is not there."""
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path = target.split("#")[0]
        if path and not re.match(r"[a-z]+:", target) and not (folder / path).exists():
            missing.append(target)
    for code in re.findall(r"`([^`\n]+)`", text):
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)+\.(py|md)(::\w+)?", code):
            file, _, name = code.partition("::")
            found = [base / file for base in (ROOT, PACKAGE, PACKAGE / "gr00t_rl", PACKAGE / "tests", folder)]
            found = [path for path in found if path.is_file()]
            if not any(not name or re.search(rf"(def|class) {name}\b", path.read_text()) for path in found):
                missing.append(code)
        elif re.fullmatch(r"test_\w+", code) and code not in TESTS:
            missing.append(code)
    return missing


def anchors_of(text: str) -> set[str]:
    """Anchors of a document's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.*)$", prose(text), flags=re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def dead_anchors_in(text: str, document: Path) -> list[str]:
    """Return the links of a document to headings that are not there; files that are not there are no matter here."""
    dead = []
    for target in re.findall(r"\]\(([^)\s]*#[^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        if not re.match(r"[a-z]+:", target) and file.suffix == ".md" and file.is_file():
            dead += [target] if anchor not in anchors_of(file.read_text()) else []
    return dead


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_tests_that_a_document_names_exist(document):
    text = prose(document.read_text())
    assert missing_in(text, document.parent) == []
    assert dead_anchors_in(text, document) == []


def test_the_check_finds_what_is_missing():
    text = "[a](gone.md) [b](CHANGELOG.md#top) [c](https://x.y/z)"
    text += "`algorithms/gone.py` `algorithms/ppo.py::Gone` `test_gone`"
    text += " `algorithms/ppo.py::PPO` `algorithms/test_ppo.py` `test_ratio_moves_with_the_weights`"
    assert missing_in(text, ROOT) == ["gone.md", "algorithms/gone.py", "algorithms/ppo.py::Gone", "test_gone"]
    text = "[a](CONTRIBUTING.md#the-site) [b](CONTRIBUTING.md#gone) [c](gone.md#a) [d](https://x.y/z.md#a) [e](#none)"
    assert dead_anchors_in(text, ROOT / "README.md") == ["CONTRIBUTING.md#gone", "#none"]


def test_options_of_the_table_are_options_of_the_algorithm():
    from gr00t_rl.options import PpoOptions, declared

    table = (ROOT / "docs" / "ppo_details.md").read_text()
    named = set(re.findall(r"`algorithm\.(\w+)`", table))
    assert {"adam_eps", "clip_param", "reward_scaling"} <= named
    assert named <= set(declared(PpoOptions))


def test_the_table_has_all_37_details():
    table = (ROOT / "docs" / "ppo_details.md").read_text()
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)] == list(range(1, 38))


def test_the_readme_names_every_verb():
    from gr00t_rl.cli import VERBS

    table = (ROOT / "README.md").read_text().partition("| `gr00t-rl` | |")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", table, flags=re.MULTILINE)
    assert {verb for cell in cells for verb in re.findall(r"`([\w-]+)`", cell)} == set(VERBS)


def test_the_page_of_results_names_every_record():
    text = (ROOT / "docs" / "results.md").read_text()
    named = set(re.findall(r"\]\(results/(\w+\.json)\)", text))
    assert named == {file.name for file in (ROOT / "docs" / "results").glob("*.json")}
