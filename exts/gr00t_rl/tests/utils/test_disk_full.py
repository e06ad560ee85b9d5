# SPDX-License-Identifier: BSD-3-Clause
"""A disk that is full: what was there stays, nothing half written is left, and it ends in one line.

The cases are made from everything that writes a file which somebody would miss.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from data_episodes import make_episode
from helpers import PointMassEnv, make_runner, runner_cfg

from gr00t_rl.algorithms.resume import rescue
from gr00t_rl.data import DatasetWriter, Demonstrations, Layout, Slice
from gr00t_rl.evaluation.report import write_report
from gr00t_rl.evaluation.result import write_result
from gr00t_rl.gr00t import CheckpointError, Gr00tN1d5, Gr00tN1d5Config, checkpoint
from gr00t_rl.sft.saved import SavedTraining
from gr00t_rl.utils import kept_checkpoints
from gr00t_rl.utils.errors import NotWritten
from gr00t_rl.utils.whole_files import write_whole

LARGE = "x" * 100_000
Write = Callable[[], object]
LAYOUT = Layout({}, {"joints": Slice(0, 2)}, {"arm": Slice(0, 2)}, 20.0)


def result(folder: Path) -> Write:
    return lambda: write_result(folder / "result.json", {"note": LARGE})


def report(folder: Path) -> Write:
    return lambda: write_report(folder, "title", [LARGE])


def any_file(folder: Path) -> Write:
    return lambda: write_whole(folder / "file", LARGE.encode())


def best(folder: Path) -> Write:
    """A second name on a file system without links: a copy."""
    source = folder.parent / "source"
    source.write_text(LARGE)
    return lambda: kept_checkpoints.put_beside(source, folder / "model_best.pt")


def run(folder: Path) -> Write:
    runner = make_runner(runner_cfg("mlp"), PointMassEnv())
    return lambda: runner.save(str(folder / "model_1.pt"))


def resume_file(folder: Path) -> Write:
    class Training:
        def state_dict(self) -> dict[str, Any]:
            return {"weights": torch.zeros(10_000)}

    saved = SavedTraining(folder / "out.resume.pt", {}, 1, "")
    return lambda: saved.save(Training(), [], [])  # type: ignore[arg-type]


def export(folder: Path) -> Write:
    model = Gr00tN1d5.from_config(Gr00tN1d5Config.tiny(), seed=0)
    return lambda: model.save_pretrained(folder / "exported")


def collection(folder: Path) -> Write:
    writer = DatasetWriter(folder / "dataset", LAYOUT, {})

    def write() -> None:
        writer.add(make_episode(LAYOUT, 2000, 0))
        writer.commit(writer.rounds + 1)

    return write


WRITERS = (result, report, any_file, best, run, resume_file, export, collection)


@contextlib.contextmanager
def small_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file may be larger than 4 KiB: the kernel itself refuses, in the middle of a write."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # half a .pyc would stay and break the next import
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def full_at_the_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Some file systems tell only when a file is flushed or moved to its place."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        for module, name in ((os, "fsync"), (checkpoint, "_swap")):
            patch.setattr(module, name, fail)
        yield


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("full", [small_disk, full_at_the_end])
@pytest.mark.parametrize("writer", WRITERS)
def test_nothing_older_is_lost(writer, full, tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    write = writer(folder)
    if writer is best:
        monkeypatch.setattr(Path, "hardlink_to", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
    write()
    before = content(folder)
    assert before
    with full(monkeypatch), pytest.raises((NotWritten, CheckpointError)) as refusal:
        write()
    line = str(refusal.value)
    assert (len(line.splitlines()) == 1 and "cannot be written" in line) or "cannot write" in line
    assert "File too large" in line or "No space left" in line or isinstance(refusal.value, CheckpointError)
    assert {name: data for name, data in content(folder).items() if name in before} == before
    assert content(folder).keys() - before.keys() <= {"dataset/data/chunk-000/episode_000001.parquet"}  # not counted
    write()  # with space again
    assert content(folder).keys() >= before.keys()


def test_a_run_says_which_checkpoint_to_go_on_from(tmp_path, monkeypatch):
    runner = make_runner(runner_cfg("mlp"), PointMassEnv())
    runner.save(str(tmp_path / "model_0.pt"))
    with small_disk(monkeypatch), pytest.raises(NotWritten, match=r"model_1.pt cannot.*resume from .*model_0.pt"):
        runner.save(str(tmp_path / "model_1.pt"))
    assert [file.name for file in tmp_path.iterdir()] == ["model_0.pt"]
    with small_disk(monkeypatch):  # asked to stop on a full disk, it still names the file of before
        assert "model_0.pt" in rescue(runner.alg, str(tmp_path), writes=True)  # type: ignore[arg-type]


def test_a_collection_goes_on_after_its_last_commit(tmp_path, monkeypatch):
    write = collection(tmp_path)
    write()
    with small_disk(monkeypatch), pytest.raises(NotWritten):
        write()
    again = DatasetWriter(tmp_path / "dataset", LAYOUT, {})
    assert again.num_episodes == 1 and len(Demonstrations.load([tmp_path / "dataset"])) == 2000
