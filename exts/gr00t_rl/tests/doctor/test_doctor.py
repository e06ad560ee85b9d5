# SPDX-License-Identifier: BSD-3-Clause
"""The doctor: it examines everything, survives everything, and its verdict follows from what it found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gr00t_rl import doctor
from gr00t_rl.cli.doctor import FIRST_COMMAND, main
from gr00t_rl.doctor import Finding, Section, devices, examine, finding, packages, parts


def test_this_machine_can_run_the_first_command(capsys):
    """The test environment has Isaac Lab: the verdict is yes, and what works is named with its version."""
    assert main([]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[-1] == f"The README's first command can run here: {FIRST_COMMAND}"
    assert FIRST_COMMAND in (Path(__file__).parents[4] / "README.md").read_text(encoding="utf-8")
    for name in ("newton_mjwarp", "newton_renderer", "sdpa", "eager", "tensorboard", "collect, finetune", "torch"):
        assert f"  ok  {name} " in text, text


def test_nothing_but_python():
    """Without any site packages, it says what is missing and how to get it, and ends with status 1."""
    command = [sys.executable, "-S", "-m", "gr00t_rl", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(finding.__file__).parents[2])
    assert done.returncode == 1, done.stderr
    assert "  NO  isaaclab         not installed: pip install 'gr00t_rl[isaaclab]'" in done.stdout
    assert "cannot run here: see isaaclab, torch," in done.stdout.splitlines()[-1]
    assert done.stderr == ""


def test_a_check_that_fails_is_a_finding(monkeypatch):
    def broken() -> list[Finding]:
        raise OSError("libcuda.so.1:\ncannot open")

    monkeypatch.setattr(parts, "physics", broken)
    sections = {section.title: section.findings for section in examine()}
    (found,) = sections["physics"]
    assert not found.works and found.found == "cannot be checked: OSError: libcuda.so.1: cannot open"
    assert len(sections) == 8 and all(sections.values())


@pytest.mark.parametrize(("needed", "status"), [(True, 1), (False, 0)])
def test_the_verdict_follows_from_what_is_needed(monkeypatch, capsys, needed, status):
    section = Section("parts", [Finding("thing", False, "not installed", "pip install thing", needed)])
    monkeypatch.setattr(doctor, "examine", lambda: iter([section]))
    assert main([]) == status
    lines = capsys.readouterr().out.splitlines()
    assert f"  {'NO' if needed else '-':3} thing  not installed: pip install thing" in lines
    assert ("cannot run here: see thing (NO)" in lines[-1]) == needed


def test_a_version_outside_our_range_is_refused(monkeypatch):
    monkeypatch.setattr(packages, "version_of", lambda name: "3.1")
    found = packages._installed("rsl-rl-lib", ">=5.4.2,<5.6", "pip install it")
    assert not found.works and found.found == "3.1, outside >=5.4.2,<5.6" and found.get == "pip install it"
    assert packages._installed("rsl-rl-lib", ">=3,<4", "").works


def test_ranges_are_those_of_the_metadata():
    assert packages._range_of("rsl-rl-lib") in (">=5.4.2,<5.6", "<5.6,>=5.4.2")
    assert packages._range_of("isaaclab") is None  # of an extra


def test_threads_are_named(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert devices._threads().found == "not set: one in a simulation on the CPU"
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert devices._threads().found == "4"


def test_a_wandb_that_isaac_lab_cannot_call_does_not_work(monkeypatch):
    monkeypatch.setattr(parts, "_wandb_suits_isaac_lab", lambda: False)
    monkeypatch.setattr(parts, "version_of", lambda name: "0.31.0")
    monkeypatch.setattr(parts, "is_there", lambda *modules: True)
    (wandb,) = [found for found in parts.loggers() if found.name == "wandb"]
    assert not wandb.works and wandb.found.startswith("0.31.0 lacks wandb.util.generate_id")


def test_a_module_that_does_not_load_is_told_in_one_line(monkeypatch, tmp_path):
    (tmp_path / "broken_library.py").write_text("raise OSError('first\\nsecond')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert finding.importing("broken_library") == "OSError: first second"
    assert finding.importing("json") is None
    assert not finding.is_there("json", "no_such_module.part")
