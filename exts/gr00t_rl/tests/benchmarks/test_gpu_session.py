# SPDX-License-Identifier: BSD-3-Clause
"""A session on a lent machine: whatever fails or takes too long, the next step runs and every figure is on disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from gpu_session import HERE, Session, Step, after_sourcing, finish, read_lines, report


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


def test_it_starts_where_the_package_is_not_installed(tmp_path):
    """As on a bare machine: libraries are there, but no path file of the environment is read, and so no package."""
    script = tmp_path / "bundle.sh"
    script.write_text(f"export PYTHONPATH={sysconfig.get_paths()['purelib']} BUNDLE=there\n")
    env = {**os.environ, "PYTHONPATH": sysconfig.get_paths()["purelib"], "OMP_NUM_THREADS": "1"}
    bare = [sys.executable, "-S"]
    found = subprocess.run([*bare, "-c", "import gr00t_rl"], env=env, capture_output=True, text=True, check=False)
    assert "No module named 'gr00t_rl'" in found.stderr
    command = [*bare, str(HERE / "gpu_session.py"), "--tiny", "--only", "nothing", "--seconds", "60"]
    command += ["--out", str(tmp_path / "lines.jsonl")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    assert [line for line in read_lines(tmp_path / "lines.jsonl") if line.get("end")]


def test_a_script_is_sourced_beside_the_steps(tmp_path):
    """What it leaves in the environment comes to the steps that begin after it, and the package's path stays."""
    script = tmp_path / "bundle.sh"
    script.write_text("sleep 1; export PYTHONPATH=/bundle LEFT='two words'\n")
    session = Session(tmp_path / "lines.jsonl", 100, tmp_path)
    tell = python("import os; print(os.environ['PYTHONPATH'], os.environ.get('LEFT'))")
    left = session.sourced = tmp_path / "bundle.env"
    session.begin("kernels", after_sourcing(script, left, tell))
    assert session.run(Step("before", tell, 60)) and session.run(Step("after", tell, 60, ("kernels",)))
    before, kernels, after = ((tmp_path / f"{name}.log").read_text() for name in ("before", "kernels", "after"))
    package = str(Path(session.env["PYTHONPATH"].split(":")[0]))
    assert "None" in before and package.endswith("exts/gr00t_rl")
    assert kernels.strip() == after.strip() == f"{package}:/bundle two words"
    script.write_text("false\n")
    session.begin("failed", after_sourcing(script, tmp_path / "none.env", tell))
    assert not session.wait_for("failed", 60)


def is_running(pid: int) -> bool:
    """Whether a process is there, and not only its entry, for which nobody has asked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_session_that_is_ended_leaves_nothing_behind(tmp_path):
    code = (
        "import sys; sys.argv[1:] = ['--tiny', '--out', sys.argv[1]]; import gpu_session as g\n"
        "wait = [sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(60)']\n"
        "g.background = lambda session, *_: session.begin('job', wait)\n"
        "g.plan = lambda *_: [g.Step('step', wait, 60)]\n"
        "g.Session.launch = (lambda launch: lambda self, *a: (p := launch(self, *a), print(p.pid, flush=True))[0])"
        "(g.Session.launch)\n"
        "g.main()"
    )
    env = {**os.environ, "PYTHONPATH": str(HERE)}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lines.jsonl")], env=env, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pids = []
    while len(pids) < 2:
        line = process.stdout.readline()
        pids += [int(line)] if line.strip().isdigit() else []
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    deadline = time.monotonic() + 20
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_running, pids))
    assert [line for line in read_lines(tmp_path / "lines.jsonl") if line.get("end")]
