# SPDX-License-Identifier: BSD-3-Clause
"""Reading the files under ``meta/``, which somebody else may have written: tables, and entries of the right kind."""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..utils.errors import ConfigurationError
from ..utils.foreign_files import is_count, is_finite, is_inside, parse_json, read_text, shown


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
            f"{path} does not exist; give the folder of a LeRobot v2 dataset with GR00T's meta/modality.json"
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


def pattern(path: Path, content: Mapping[str, Any], name: str, fields: tuple[str, ...]) -> str:
    """The entry ``name``: a file name inside the dataset, with ``fields`` in braces, which may say their digits.

    Raises:
        ConfigurationError: Anything else: other fields, an absolute path, one that leaves the dataset.
    """
    found = content.get(name)
    try:
        parts = list(string.Formatter().parse(found))  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        parts = [("", "", "", "")]
    fits = all(
        field is None or (field in fields and not conversion and (not spec or (spec[-1:] == "d" and len(spec) <= 3)))
        for _, field, spec, conversion in parts
    )
    if not fits or not is_inside(str(found)):
        expected = f"a path inside the dataset with {', '.join(f'{{{field}}}' for field in fields)}"
        raise _wrong(path, name, found, expected)
    return str(found)


def _wrong(path: Path, name: str, found: Any, expected: str) -> ConfigurationError:
    return ConfigurationError(f"{path}: {name!r} is {shown(found)}; set {expected}")
