# SPDX-License-Identifier: BSD-3-Clause
"""scripts/spot.sh starts a command again if SIGTERM ended it, and in no other case; try_spot.py has a real training."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

SPOT = Path(__file__).resolve().parents[4] / "scripts" / "spot.sh"
SAVES = "trap 'sleep 0.3; echo saved >> saves; exit 75' TERM; echo started >> starts; while :; do sleep 0.05; done"
"""A training that saves for a moment when it is asked to stop."""


def start(folder: Path, script: str) -> subprocess.Popen:
    """Start the loop over a program of bash."""
    command = [SPOT, "bash", "-c", script]
    return subprocess.Popen(
        command,
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # what a shell started in the background inherits ignored interrupts, which bash cannot trap
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def lines(file: Path) -> int:
    """Words in a file."""
    return len(file.read_text().split()) if file.exists() else 0


def wait_for(file: Path, count: int = 1) -> None:
    """Wait until a file has that many words."""
    deadline = time.monotonic() + 60
    while lines(file) < count:
        assert time.monotonic() < deadline, file
        time.sleep(0.02)


@pytest.mark.parametrize(("ending", "code"), [("exit 0", 0), ("exit 1", 1), ("exit 2", 2), ("kill -KILL $$", 137)])
def test_what_finished_or_failed_is_not_started_again(tmp_path: Path, ending: str, code: int) -> None:
    loop = start(tmp_path, f"echo started >> starts; {ending}")
    assert loop.wait(60) == code
    assert lines(tmp_path / "starts") == 1


@pytest.mark.parametrize("ending", ["exit 75", "kill -TERM $$"])
def test_what_sigterm_ended_is_started_again_to_the_end(tmp_path: Path, ending: str) -> None:
    loop = start(tmp_path, f"echo started >> starts; [ $(wc -l < starts) = 3 ] || {ending}")
    _, errors = loop.communicate(timeout=60)
    assert loop.returncode == 0 and lines(tmp_path / "starts") == 3
    assert errors.count("starting it again") == 2


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_the_loop_passes_a_request_on_and_waits(tmp_path: Path, signum: int, code: int) -> None:
    loop = start(tmp_path, SAVES)
    wait_for(tmp_path / "starts")
    loop.send_signal(signum)
    assert loop.wait(60) == code
    assert (lines(tmp_path / "starts"), lines(tmp_path / "saves")) == (1, 1)


def test_a_training_that_ends_well_meanwhile_has_finished(tmp_path: Path) -> None:
    loop = start(tmp_path, SAVES.replace("exit 75", "exit 0"))
    wait_for(tmp_path / "starts")
    loop.send_signal(signal.SIGTERM)
    assert loop.wait(60) == 0


def test_a_training_that_fails_meanwhile_has_failed(tmp_path: Path) -> None:
    loop = start(tmp_path, SAVES.replace("exit 75", "exit 1"))
    wait_for(tmp_path / "starts")
    loop.send_signal(signal.SIGTERM)
    assert loop.wait(60) == 1


def test_a_wrapper_that_dies_first_is_no_end(tmp_path: Path) -> None:
    """isaaclab.sh and its Python neither handle SIGTERM nor pass it on."""
    (tmp_path / "training.sh").write_text(SAVES)
    loop = start(tmp_path, "bash training.sh; exit $?")
    wait_for(tmp_path / "starts")
    loop.send_signal(signal.SIGTERM)
    assert loop.wait(60) == 75
    assert lines(tmp_path / "saves") == 1


def test_without_a_command(tmp_path: Path) -> None:
    done = subprocess.run([SPOT], capture_output=True, text=True)
    assert done.returncode == 2 and "usage:" in done.stderr
