# SPDX-License-Identifier: BSD-3-Clause
"""Reading the files under ``meta/``, which somebody else may have written: tables, and entries of the right kind."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..utils.errors import ConfigurationError
from ..utils.foreign_files import is_count, is_finite, is_inside, parse_json, read_text, shown

_DIGITS = re.compile(r"0?[0-9]{0,2}d")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON table of the dataset. Raises ConfigurationError where it is missing, broken or no table."""
    return _table(path, _parse(path, parse_json))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read a file of one JSON table per line. Raises ConfigurationError where it is missing or broken."""
    rows = _parse(path, lambda text: [parse_json(line) for line in text.split("\n") if line.strip()])
    return [_table(path, row) for row in rows]


def _parse(path: Path, parse: Any) -> Any:
    try:
        return parse(read_text(path))
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} does not exist; give the folder of a LeRobot dataset (v2.0, v2.1 or v3.0)"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read ({error}); write or copy it again") from None


def _table(path: Path, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} holds a {type(content).__name__}, not a table; write or copy it again")
    return content


def table(path: Path, content: Mapping[str, Any], name: str, default: Any = None) -> dict[str, Any]:
    """The entry ``name``, a table of tables. Raises ConfigurationError for anything else."""
    found = content.get(name, default)
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        raise _wrong(path, name, found, "a table of tables")
    return found


def count(path: Path, content: Mapping[str, Any], name: str, least: int = 0) -> int:
    """The entry ``name``, an integer of at least ``least``. Raises ConfigurationError for anything else."""
    if not is_count(found := content.get(name), least):
        raise _wrong(path, name, found, f"an integer of at least {least}")
    return found


def of_type[T](path: Path, content: Mapping[str, Any], name: str, kind: type[T], default: T | None = None) -> T:
    """The entry ``name``, of a type. Raises ConfigurationError for anything else."""
    if not isinstance(found := content.get(name, default), kind):
        raise _wrong(path, name, found, f"a {kind.__name__}")
    return found


def rate(path: Path, content: Mapping[str, Any], name: str) -> float:
    """The entry ``name``, a number above 0. Raises ConfigurationError for anything else."""
    if not is_finite(found := content.get(name)) or found <= 0:
        raise _wrong(path, name, found, "a number above 0")
    return found


def file_name(path: Path, content: Mapping[str, Any], name: str, **values: int | str) -> str:
    """The entry ``name``, a pattern of a file's name with ``values`` in braces, filled in.

    Numbers may say their digits, as in ``{file_index:03d}``.

    Raises:
        ConfigurationError: Anything else: other fields, an absolute path, one that leaves the dataset.
    """
    found = content.get(name)
    try:
        parts = list(string.Formatter().parse(found))  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        parts = [("", "", "", "")]
    fits = all(
        not conversion and _fits(values.get(field), spec) for _, field, spec, conversion in parts if field is not None
    )
    filled = str(found).format(**values) if fits else str(found)
    if not fits or not is_inside(filled):
        fields = ", ".join(f"{{{field}}}" for field in values)
        gives = "" if filled == found else f", which gives {shown(filled)}"
        raise _wrong(path, name, found, f"a path inside the dataset's folder with {fields}", gives)
    return filled


def _fits(value: int | str | None, spec: str | None) -> bool:
    """Whether a value can be written as a pattern asks: a number with so many digits, a text as it is."""
    return value is not None and (not spec or (isinstance(value, int) and bool(_DIGITS.fullmatch(spec))))


def _wrong(path: Path, name: str, found: Any, expected: str, more: str = "") -> ConfigurationError:
    return ConfigurationError(f"{path}: {name!r} is {shown(found)}{more}; set {expected}")
