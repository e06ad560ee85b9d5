# SPDX-License-Identifier: BSD-3-Clause
"""Study files: the records of a benchmark's runs, one JSON table per study, one line per run.

``docs/results/*.json`` are such files: name of the run -> its record. A run is added whole or not at all, and two runs
that end at the same time both stay. The JSON is strict: a number that is not known is ``null`` in the file and ``nan``
in a series that is read back.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gr00t_rl.utils.whole_files import write_whole

Record = dict[str, Any]
"""What is kept of a run."""


def read_study(file: Path) -> dict[str, Record]:
    """Read a study: name of the run -> its record, in the order of names; empty where there is no file yet.

    ``null`` inside a list is read as ``nan``.

    Raises:
        SystemExit: If the file is no study.
    """
    if file.suffix != ".json" or file.is_dir():
        raise SystemExit(f"error: {file} is no study file; name one, such as {file.with_suffix('.json')}")
    if not file.exists():
        return {}
    try:
        study = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {file} is not readable as a study ({error}); restore it from git") from None
    if not isinstance(study, dict) or not all(isinstance(record, dict) for record in study.values()):
        raise SystemExit(f"error: {file} is no study, which is a table of runs; name another file")
    return {name: _with_nan(record) for name, record in study.items()}


def add_run(file: Path, name: str, record: Mapping[str, Any]) -> None:
    """Put a run into its study, in place of an earlier one of that name.

    Raises:
        ValueError: If the record holds an infinite number, or what JSON does not know.
    """
    # before the lock, and before anything is written
    line = json.loads(json.dumps(_without_nan(record), allow_nan=False))
    file.parent.mkdir(parents=True, exist_ok=True)
    with _locked(file.parent):
        study = {**read_study(file), name: line}
        rows = (
            f"{json.dumps(key)}: {json.dumps(_without_nan(study[key]), allow_nan=False, separators=(',', ':'))}"
            for key in sorted(study)
        )
        write_whole(file, ("{\n" + ",\n".join(rows) + "\n}\n").encode())


def append_line(file: Path | None, content: Mapping[str, Any]) -> None:
    """Append a JSON line to the file, on the disk before this returns; nothing where there is no file."""
    if file is None:
        return
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(_without_nan(content)) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which leaves no file behind, against other processes and threads."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _without_nan(value: Any) -> Any:
    """Return ``value`` with None in place of every nan."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    return [_without_nan(entry) for entry in value] if isinstance(value, list | tuple) else value


def _with_nan(value: Any) -> Any:
    """Return ``value`` with nan in place of every None inside a list."""
    if isinstance(value, dict):
        return {key: _with_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [math.nan if entry is None else _with_nan(entry) for entry in value]
    return value
