# SPDX-License-Identifier: BSD-3-Clause
"""What a release consists of: one version everywhere, a changelog of the usual shape, forms that ask what helps."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

import gr00t_rl

ROOT = Path(__file__).parents[3]
SECTIONS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
"""Those of Keep a Changelog."""


def test_the_changelog_has_the_usual_shape():
    """Versions newest first, each with a date or unreleased, and known sections that are not empty."""
    text = (ROOT / "CHANGELOG.md").read_text()
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    versions = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d|Unreleased)", head) for head in heads]
    assert all(versions), heads
    numbers = [tuple(map(int, version[1].split("."))) for version in versions if version]
    assert numbers == sorted(numbers, reverse=True) and len(numbers) == len(set(numbers))
    assert versions[0] and versions[0][1] == gr00t_rl.__version__
    assert [version[2] for version in versions if version][1:].count("Unreleased") == 0
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        sections = re.findall(r"^### (.*)\n\n- ", part, re.MULTILINE)
        assert sections and sections == re.findall(r"^### (.*)$", part, re.MULTILINE)
        assert set(sections) <= SECTIONS and len(sections) == len(set(sections))


def test_the_citation_is_of_this_version_and_names_no_person():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["version"] == gr00t_rl.__version__
    assert citation["authors"] == [{"name": "The gr00t_rl developers"}]
    assert not {"url", "repository-code", "doi"} & citation.keys()
    project = (ROOT / "exts" / "gr00t_rl" / "pyproject.toml").read_text()
    assert f'license = {{ text = "{citation["license"]}" }}' in project and citation["authors"][0]["name"] in project


def test_issue_forms_ask_what_helps():
    forms = {
        path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")
    }
    assert forms.keys() == {"bug", "feature", "config"}
    for name in ("bug", "feature"):
        form = forms[name]
        assert form["name"] and form["description"]
        ids = [part["id"] for part in form["body"]]
        assert len(ids) == len(set(ids)) and all(part["attributes"]["label"] for part in form["body"])
        assert all(part["validations"]["required"] for part in form["body"])
    assert {"version", "command", "doctor"} <= {part["id"] for part in forms["bug"]["body"]}
    assert "gr00t-rl doctor" in str(forms["bug"]) and "gr00t-rl --version" in str(forms["bug"])


def test_what_a_source_archive_needs_is_in_it():
    """setup.py reads the version from a file that setuptools would leave out, and the licence lies at the root."""
    extension = ROOT / "exts" / "gr00t_rl"
    assert "include config/extension.toml" in (extension / "MANIFEST.in").read_text()
    assert (extension / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
