# SPDX-License-Identifier: BSD-3-Clause
"""A session on a lent machine: whatever fails or takes too long, the next step runs and every figure is on disk."""

from __future__ import annotations

import sys

from gpu_session import Session, Step, finish, read_lines, report


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_step_that_fails_or_hangs_costs_its_own_limit_alone(tmp_path):
    session = Session(tmp_path / "lines.jsonl", 100, tmp_path)
    session.begin("good", python("pass"))
    session.begin("bad", python("raise SystemExit('no such simulator')"))
    assert not session.run(Step("fails", python("print('why'); raise SystemExit(3)"), 60))
    assert not session.run(Step("hangs", python("import time; time.sleep(60)"), 0.2))
    assert session.run(Step("runs", python("pass"), 60, ("good",)))
    assert not session.run(Step("needs", python("pass"), 60, ("good", "bad")))
    session.end = session.began
    assert not session.run(Step("late", python("pass"), 60))
    lines = {line["step"]: line for line in read_lines(session.out) if "step" in line}
    assert lines["fails"]["ok"] is lines["hangs"]["ok"] is False and "why" in lines["fails"]["output"]
    assert lines["hangs"]["seconds"] < 20 and lines["runs"]["ok"]
    assert lines["needs"]["left_out"] == "without bad" and lines["late"]["left_out"] == "no time left"


def test_children_end_with_their_parent(tmp_path):
    """Isaac Lab starts processes of its own; one that is left would keep the device."""
    session = Session(tmp_path / "lines.jsonl", 100, tmp_path)
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    process = session.launch("parent", python(code))
    assert finish(process, 0.5) == 124
    assert process.poll() is not None


def test_report_of_a_session_that_was_cut_off(tmp_path):
    file = tmp_path / "lines.jsonl"
    figure = '"what": "encode", "batch": 4, "ms": 2.0, "samples_per_s": 2000.0, "share_of_peak": 0.25'
    file.write_text(
        '{"start": "2026-01-01T00:00:00", "device": "CPU", "tiny": true}\n'
        f'{{"step": "throughput", "lora": false, {figure}, "share_of_bandwidth": 0.5, "peak_memory_gib": null}}\n'
        '{"step": "newton", "ok": false, "seconds": 1}\n{"step": "full_64", "num_en'
    )
    text = report(read_lines(file))
    assert "| in full | 4 | encode | 2.0 | 2000.0 | 25.0 % | 50.0 % | None |" in text
    assert "- newton: failed or over its limit" in text
