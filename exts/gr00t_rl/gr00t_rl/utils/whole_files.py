# SPDX-License-Identifier: BSD-3-Clause
"""Files that are written whole or not at all, and the removal of what a killed process left half written.

A file is written as ``.NAME.partial`` beside its place, flushed to disk and moved there in one step. While a process
writes, it holds a lock on what it writes (``flock``), which ends with the process however it ends: a partial file
without a lock is nobody's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .errors import NotWritten

PARTIAL = ".partial"
QUIET_S = 60.0
"""Age below which no leftover is removed [s]: some network file systems keep a lock from other machines."""


def partial_of(path: Path) -> Path:
    """Return the name under which :func:`whole_file` writes ``path``.

    It does not begin like the file's own name: Isaac Lab would take ``model_3.pt.partial`` for a checkpoint.
    """
    return path.with_name(f".{path.name}{PARTIAL}")


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that appears at ``path`` when the block ends, and never if it fails.

    Its folder is made as needed.

    Raises:
        NotWritten: The disk does not take it. Other errors of the block go on as they are.
    """
    partial = partial_of(path)
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _told(path), _open_alone(partial) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                file.close()  # which tries once more to write what is left
            raise


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn a disk's refusal into one line."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        refusal: BaseException | None = error
        while refusal is not None and not isinstance(refusal, OSError):
            refusal = refusal.__cause__ or refusal.__context__  # torch.save has an error of its own on top
        if refusal is None:
            raise
        raise NotWritten(
            f"{path} cannot be written ({refusal.strerror or refusal}): free space there or name another place; what "
            "was there before is unchanged"
        ) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; folders are made as needed. Raises NotWritten."""
    with whole_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep :func:`remove_leftovers` of any process from removing ``folder`` while the block runs."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def remove_leftovers(folder: Path, pattern: str) -> list[Path]:
    """Remove partial files and folders that nobody is writing, and return them.

    Args:
        folder: Where to look; it need not exist.
        pattern: Glob pattern under ``folder`` that only names of partial files and folders match.
    """
    removed = []
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):  # another process was faster, or it is not ours to remove
            if _remove_unless_in_use(path):
                removed.append(path)
    return removed


def _remove_unless_in_use(path: Path) -> bool:
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        touched = max(entry.lstat().st_mtime for entry in (path, *path.rglob("*")))
        if time.time() - touched < QUIET_S or not _lock(handle, fcntl.LOCK_NB):
            return False
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        return True
    finally:
        os.close(handle)


def _open_alone(partial: Path) -> IO[bytes]:
    """Open a partial file, empty and locked; waits for another process that writes the same one."""
    while True:
        file = os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o666), "wb")
        _lock(file.fileno())
        # while we waited for the lock, it may have been moved to its place, or removed as a leftover
        if partial.exists() and os.path.samestat(os.fstat(file.fileno()), partial.stat()):
            file.truncate(0)
            return file
        file.close()


def _lock(handle: int, flags: int = 0) -> bool:
    """Lock an open file or folder; returns whether that was done, which not every file system can."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | flags)
    except OSError:
        return False
    return True
