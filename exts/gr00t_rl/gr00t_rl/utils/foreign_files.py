# SPDX-License-Identifier: BSD-3-Clause
"""Reading files that somebody else wrote: whatever they hold, it ends in a value, or in OSError or ValueError."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

import yaml

MAX_DEPTH = 64
"""Tables within tables that JSON may hold; code that walks them recurses."""


_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_POINTER, _POINTER_BYTES = b"version https://git-lfs", 1024
"""How a pointer of Git LFS begins, and a size that none exceeds."""


def check_regular(path: Path) -> None:
    """Refuse what is there but is no file: a pipe would be waited for, a device may have no end.

    A pointer is none either, which a clone without Git LFS leaves where large files belong.

    Raises:
        OSError: It is neither a file nor a link to one, or a pointer.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError("not a regular file")
    if found.st_size <= _POINTER_BYTES and path.read_bytes().startswith(_POINTER):
        raise OSError(f"{path.name} is a pointer of Git LFS, run `git lfs pull` in its clone")


def is_hub_id(name: str) -> bool:
    """Whether a name is one of the hub, ``org/name``, and not that of a folder here.

    Where there is a folder of the name ``org``, a folder in it was meant: nothing is looked for in the net.
    """
    return _HUB_ID.fullmatch(name) is not None and not Path(name).exists() and not Path(name).parent.is_dir()


def read_bytes(path: Path) -> bytes:
    """Content of a file. Raises OSError."""
    check_regular(path)
    return path.read_bytes()


def read_text(path: Path) -> str:
    """Content of a file in UTF-8. Raises OSError, and ValueError for other bytes."""
    return read_bytes(path).decode("utf-8")


def parse_json(text: str | bytes) -> Any:
    """Content of a JSON text. Raises ValueError, for tables nested deeper than :data:`MAX_DEPTH` too."""
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("tables nested too deeply") from None
    _check_depth(content)
    return content


def parse_json_or_yaml(text: str) -> Any:
    """Content of a text in either form. JSON is not YAML everywhere: tabs, and numbers like 1e-05.

    Raises:
        ValueError, RecursionError, yaml.YAMLError: It is neither.
    """
    try:
        return parse_json(text)
    except ValueError:
        return yaml.safe_load(text)


def _check_depth(content: Any) -> None:
    level = [content]
    for _ in range(MAX_DEPTH):
        level = [part for whole in level for part in _parts(whole)]
        if not level:
            return
    raise ValueError(f"tables nested more than {MAX_DEPTH} deep")


def _parts(whole: Any) -> Iterator[Any]:
    parts = whole.values() if isinstance(whole, dict) else whole if isinstance(whole, list) else ()
    return (part for part in parts if isinstance(part, dict | list))


def is_count(value: Any, least: int = 0) -> TypeGuard[int]:
    """Whether a value is an integer of at least ``least`` that fits into 63 bits; True and False are none."""
    return type(value) is int and least <= value < 2**63


def is_finite(value: Any) -> TypeGuard[float]:
    """Whether a value is a number that a float can hold, neither NaN nor infinite; True and False are none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def shown(value: Any) -> str:
    """A value of a file for a message of one line."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def is_inside(name: str) -> bool:
    """Whether a file name out of a file stays in the folder that it is relative to.

    Links in that folder may lead elsewhere, as those of the hub's cache do: whoever made the folder made them.
    """
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name
