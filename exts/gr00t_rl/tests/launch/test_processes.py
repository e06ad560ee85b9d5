# SPDX-License-Identifier: BSD-3-Clause
"""Two real processes under the launcher: one dies, one breaks, they are asked to stop; how many there are to be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from gr00t_rl.launch import processes
from gr00t_rl.launch.processes import count_processes, newest_checkpoint
from gr00t_rl.utils.errors import ConfigurationError

WORKER = Path(__file__).parent / "process_worker.py"
BOUND_S = 300
"""Time after which a test gives up on the processes, which would wait for each other for half an hour."""
LAUNCH = """
import sys
from gr00t_rl.launch.processes import newest_checkpoint, run_processes
sys.exit(run_processes(sys.argv[1:], 2, (), lambda: newest_checkpoint(0.0, "run")))
"""


class Ended(NamedTuple):
    """What the launcher left behind."""

    code: int
    lines: list[str]
    """What it and the first process wrote to stderr."""
    folder: Path


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TMPDIR": str(folder)}
    command = [sys.executable, "-c", LAUNCH, str(WORKER), *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=pipe, text=True)


def wait(process: subprocess.Popen, folder: Path) -> Ended:
    try:
        _, errors = process.communicate(timeout=BOUND_S)
    finally:
        process.kill()
    return Ended(process.returncode, errors.splitlines(), folder)


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> dict[str, Ended]:
    """All accidents at once, for the sake of time."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("killed", "raises", "asks", "interrupts")}
    started = {name: start(folder, name, "logs/rsl_rl/test/run") for name, folder in folders.items()}
    return {name: wait(process, folders[name]) for name, process in started.items()}


def of_ours(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("[gr00t_rl]")]


@pytest.mark.slow
def test_a_killed_process_ends_the_others_in_one_line(ended):
    code, lines, folder = ended["killed"]
    (line,) = of_ours(lines)
    assert code == 1 and lines[-1] == line and not [other for other in lines if "Traceback" in other or "gloo" in other]
    assert "process 1 (pid " in line and "SIGKILL" in line and "the others were ended" in line
    assert line.endswith("go on with --checkpoint logs/rsl_rl/test/run/model_1.pt")
    assert (folder / "logs/rsl_rl/test/run/model_1.pt").is_file()


@pytest.mark.slow
def test_an_exception_in_one_process_ends_the_others_in_one_line(ended):
    """It is the cause that is named, and not that the other one lost its connection; the traceback is kept."""
    code, lines, _ = ended["raises"]
    (line,) = of_ours(lines)
    assert code == 1
    assert "process 1 (pid " in line and "exit code 1 (ValueError: the gripper is gone)" in line
    kept = Path(line.split("its output is in ")[1].split(";")[0])
    assert "the gripper is gone" in "".join(file.read_text() for file in kept.rglob("1/stderr.log"))


@pytest.mark.slow
@pytest.mark.parametrize(("accident", "expected"), [("asks", 75), ("interrupts", 130)])
def test_a_request_to_stop_saves(ended, accident, expected):
    """The third iteration is given up: the file holds the state after two. After Ctrl-C nobody is to start it again."""
    code, lines, folder = ended[accident]
    *told, line = of_ours(lines)
    assert code == expected
    assert told == ([] if expected == 75 else ["[gr00t_rl] stopping; the state is saved first (Ctrl-C again: at once)"])
    assert "stopped by SIGTERM in iteration 2" in line and "model_2.pt" in line
    file = folder / "logs/rsl_rl/test/run/model_2.pt"
    saved = torch.load(file, weights_only=True)
    before = torch.load(file.with_name("model_1.pt"), weights_only=True)
    assert saved["algorithm_state_dict"]["iteration"] == 2
    for name, tensor in before["actor_state_dict"].items():
        assert torch.equal(saved["actor_state_dict"][name], tensor), name
    assert not list(folder.glob("gr00t_rl_processes_*")), "output of processes that did what they should is left"


# -- how many ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(monkeypatch):
    """A machine with 3 cores and as many GPUs as a test says."""

    def build(gpus: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(processes.os, "sched_getaffinity", lambda _: {0, 1, 2})

    return build


@pytest.mark.parametrize(
    ("gpus", "wanted", "device", "expected"),
    [
        (0, "auto", None, (3, "cpu")),
        (0, "2", None, (2, "cpu")),
        (8, "auto", None, (8, "cuda")),
        (8, "4", None, (4, "cuda")),
        (8, "auto", "cpu", (3, "cpu")),
        (8, "1", "cuda:3", (1, "cuda")),
        (8, "2", "cuda", (2, "cuda")),
    ],
)
def test_number_of_processes(machine, gpus, wanted, device, expected):
    machine(gpus)
    assert count_processes(wanted, device) == expected


@pytest.mark.parametrize(
    ("gpus", "wanted", "device", "match"),
    [
        (1, "2", None, "has 1 CUDA GPUs"),
        (0, "auto", "cuda", "has 0 CUDA GPUs"),
        (8, "2", "cuda:3", "CUDA_VISIBLE_DEVICES"),
        (0, "0", None, "at least 1, or auto"),
        (0, "-1", "cpu", "at least 1, or auto"),
        (0, "all", None, "at least 1, or auto"),
    ],
)
def test_numbers_that_cannot_be(machine, gpus, wanted, device, match):
    machine(gpus)
    with pytest.raises(ConfigurationError, match=match):
        count_processes(wanted, device)


def test_newest_checkpoint_is_that_of_this_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert newest_checkpoint(0.0, "2026-11-28_10-00-00") is None
    for name in (
        "2026-11-28_10-00-00/model_9.pt",
        "2026-11-28_10-00-00/model_10.pt",
        "2026-11-28_11-00-00/model_50.pt",
    ):
        file = tmp_path / "logs" / "rsl_rl" / "push" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (file.parent.parent / "2026-11-28_10-00-00" / "model_best.pt").touch()
    assert newest_checkpoint(0.0, "2026-11-28_10-00-00") == "logs/rsl_rl/push/2026-11-28_10-00-00/model_10.pt"
    os.utime(file, (100.0, 100.0))
    assert newest_checkpoint(200.0) == "logs/rsl_rl/push/2026-11-28_10-00-00/model_10.pt"
