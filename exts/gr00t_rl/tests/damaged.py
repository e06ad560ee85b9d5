# SPDX-License-Identifier: BSD-3-Clause
"""Files as a broken disk, a careless edit or an attacker leaves them, for property tests of what reads them.

The property is always the same: reading ends well, or in one line; never in another exception, never not at all, and
nothing is written.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

PROPERTY = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""Few examples, the same ones each time."""

ESCAPES = ("../outside", "/dev/null", "a/../../outside", "..", "", "\0", "~/x", "//x")
"""Names that lead out of a folder, or nowhere."""
TREE: Any = json.loads("[" * 200 + "]" * 200)
ODD: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 3, 2**31, 10**18, 10**19, -(10**18), 10**400, 0.5, -1.5, 1e308, 1e39),
    *(float("nan"), float("inf"), float("-inf")),
    *("", "x", "\ud800", "{0}", "{x.__class__}", "{episode_index:>99999999}", "{", *ESCAPES),
    *([], {}, [[]], [None], [1, "a"], ["a", "a"], [[1.0], [2.0, 3.0]], {"": None}, {"a": {"b": []}}, [10**400], [{}]),
    TREE,
)
"""Values that no entry, or hardly any, should have."""
BYTES = (
    b"",
    b"\xff\xfe",
    b"null",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"1" * 5000,
    b"[1]",
    b'"text"',
    b"{}",
    b"\0" * 64,
)
"""Contents that no file should have."""
PLACES = ("missing", "folder", "pipe", "device", "loop", "dangling")
"""What may stand where a file should."""


def _nodes(content: Any, trail: tuple = ()) -> Iterator[tuple]:
    """Where the entries of nested tables and lists are; of long ones only the first."""
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in list(entries)[:40]:
        yield (*trail, key)
        yield from _nodes(value, (*trail, key))


@st.composite
def damaged_table(draw: st.DrawFn, content: Any) -> Any:
    """A table or list with one or two entries removed, renamed, or replaced by something odd."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 2))):
        nodes = list(_nodes(content))
        if not nodes:
            break
        *trail, key = draw(st.sampled_from(nodes))
        parent = content
        for step in trail:
            parent = parent[step]
        how = draw(st.sampled_from(("replace", "replace", "remove", "rename")))
        if how == "replace":
            parent[key] = draw(st.sampled_from(ODD))
        elif isinstance(parent, dict) and how == "rename":
            parent[draw(st.sampled_from(("odd", *ESCAPES)))] = parent.pop(key)
        else:
            del parent[key]
    return content


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """A file that is cut off, partly overwritten, or another one altogether."""
    how = draw(st.sampled_from(("cut", "overwrite", "other")))
    if how == "other" or not content:
        return draw(st.sampled_from(BYTES))
    place = draw(st.integers(0, len(content) - 1))
    if how == "cut":
        return content[:place]
    junk = draw(st.binary(min_size=1, max_size=16))
    return content[:place] + junk + content[place + len(junk) :]


def damaged_json(content: bytes) -> st.SearchStrategy[bytes]:
    """A JSON file with odd entries, or damaged as any file."""
    tables = damaged_table(json.loads(content)).map(lambda table: json.dumps(table).encode())
    return st.one_of(tables, tables, damaged_bytes(content))


def put_in_place(path: Path, kind: str) -> None:
    """Put one of :data:`PLACES` where ``path`` is."""
    path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "missing":
        path.symlink_to({"device": "/dev/zero", "loop": path.name, "dangling": "nowhere"}[kind])


def linked_copy(source: Path, target: Path) -> Path:
    """A folder whose files are links to those of another one, as in the hub's cache."""
    for path in source.rglob("*"):
        if path.is_file():
            link = target / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return target


def ends_in_one_line(read: Callable[[], object], *errors: type[Exception] | type[SystemExit]) -> str | None:
    """Read; returns the one line it ends in, None where it ends well. Everything else fails the test."""
    with _not_for_ever():
        try:
            read()
        except errors as error:
            line = str(error)
            assert line and len(line.splitlines()) == 1 and len(line) < 1500, line
            return line
    return None


@contextlib.contextmanager
def _not_for_ever(seconds: int = 20) -> Iterator[None]:
    def fail(*_: object) -> None:
        raise AssertionError(f"it was not over after {seconds} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """What lies below a folder, to see whether anything was written: name -> size and time of change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        found[str(path.relative_to(folder))] = (state.st_size, state.st_mtime_ns)
    return found
