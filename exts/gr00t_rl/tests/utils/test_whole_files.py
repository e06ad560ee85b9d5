# SPDX-License-Identifier: BSD-3-Clause
"""Files are whole or absent; what a killed process left is removed, what another one is writing is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gr00t_rl.utils import whole_files
from gr00t_rl.utils.runner_files import save_whole
from gr00t_rl.utils.whole_files import held, partial_of, remove_leftovers, whole_file, write_whole

WRITER = """
import sys
from pathlib import Path
from gr00t_rl.utils.whole_files import whole_file

with whole_file(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    sys.stdin.readline()
"""


def make_old(path: Path) -> Path:
    """Let a file or folder look untouched for an hour."""
    for entry in (*path.rglob("*"), path):
        hour_ago = time.time() - 3600
        os.utime(entry, (hour_ago, hour_ago))
    return path


def start_writer(path: Path) -> subprocess.Popen[str]:
    """Start a process that has written half of a file and waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", WRITER, str(path)]
    process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    return process


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    file = tmp_path / "folder" / "file"
    write_whole(file, b"first")
    with pytest.raises(RuntimeError, match="disk full"), whole_file(file) as handle:
        handle.write(b"half")
        raise RuntimeError("disk full")
    assert file.read_bytes() == b"first"
    assert list(file.parent.iterdir()) == [file]


def test_what_a_killed_writer_left_is_overwritten(tmp_path):
    file = tmp_path / "file"
    partial_of(file).write_bytes(b"much more than what comes now")
    write_whole(file, b"now")
    assert file.read_bytes() == b"now" and list(tmp_path.iterdir()) == [file]


def test_two_writers_of_one_file_take_turns(tmp_path):
    file = tmp_path / "file"
    second = threading.Thread(target=write_whole, args=(file, b"second"))
    with whole_file(file) as first:
        first.write(b"first")
        second.start()
        second.join(0.5)
        assert second.is_alive() and not file.exists()
    second.join(60)
    assert file.read_bytes() == b"second" and list(tmp_path.iterdir()) == [file]


def test_only_what_nobody_writes_is_removed(tmp_path):
    """Runs side by side in one experiment: one was killed while it saved, one is saving now, one has just begun to."""
    killed, alive, fresh = (tmp_path / name / "model_3.pt" for name in ("killed", "alive", "fresh"))
    process = start_writer(killed)
    process.send_signal(signal.SIGKILL)
    process.wait()
    writer = start_writer(alive)
    try:
        write_whole(fresh.with_name("other"), b"")
        partial_of(fresh).write_bytes(b"half")
        make_old(partial_of(killed))
        make_old(partial_of(alive))
        (tmp_path / "this").mkdir()
        save_whole({"iter": 0}, str(tmp_path / "this" / "model_0.pt"))
        assert not partial_of(killed).exists()
        assert partial_of(alive).read_bytes() == b"half"
        assert partial_of(fresh).exists()
    finally:
        writer.communicate("\n", timeout=60)
    assert alive.read_bytes() == b"half"


def test_what_does_not_match_stays(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    others = [run / "model_1.pt", run / ".notes.partial"]
    for path in others:
        path.touch()
        make_old(path)
    save_whole({"iter": 2}, str(run / "model_2.pt"))
    assert all(path.exists() for path in others)


def test_folders(tmp_path):
    left, in_use = tmp_path / ".c.saving-1", tmp_path / ".c.saving-2"
    for folder in (left, in_use):
        folder.mkdir()
        (folder / "weights").write_bytes(b"half")
        make_old(folder)
    with held(in_use):
        assert remove_leftovers(tmp_path, ".c.saving-*") == [left]
    assert not left.exists() and (in_use / "weights").exists()
    (in_use / "weights").write_bytes(b"more")  # the folder's own age does not tell that it is being filled
    assert remove_leftovers(tmp_path, ".c.saving-*") == []


def test_a_file_system_without_locks_keeps_everything(tmp_path, monkeypatch):
    def unsupported(*_: object) -> None:
        raise OSError("Function not implemented")

    monkeypatch.setattr(whole_files.fcntl, "flock", unsupported)
    left = tmp_path / ".model_1.pt.partial"
    left.touch()
    make_old(left)
    write_whole(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert remove_leftovers(tmp_path, ".*.partial") == [] and left.exists()
    assert remove_leftovers(tmp_path / "missing", ".*.partial") == []
