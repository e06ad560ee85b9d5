# SPDX-License-Identifier: BSD-3-Clause
"""Reading and writing the tables of a checkpoint's JSON files."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def section(parent: Mapping[str, Any], key: str, required: bool = True) -> Mapping[str, Any]:
    """The table ``key`` of ``parent``; empty where it is missing and not ``required``."""
    value = parent.get(key)
    if value is None and not required:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} is missing or not a table: take the file from the original checkpoint")
    return value


def check_fixed(table: Mapping[str, Any], fixed: Mapping[str, Any], network: str) -> None:
    """Make sure that the switches of ``table`` are those ``fixed`` ones of the network."""
    for key, expected in fixed.items():
        if table.get(key, expected) != expected:
            raise ValueError(f"{key} is {table[key]!r}, but {network} has {expected!r}: this is another network")


def numbers(cls: type, table: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of ``table`` that are fields of ``cls``, checked to be positive numbers of the field's kind."""
    kinds = {f.name: f.type for f in fields(cls)}
    found = {}
    for key, value in table.items():
        if key not in kinds:
            continue
        is_float = "float" in str(kinds[key])  # annotations are strings here
        number = isinstance(value, (int, float) if is_float else int) and not isinstance(value, bool)
        if not number or value < (0 if is_float else 1):
            raise ValueError(f"{key} is {value!r}, not a size: take the file from the original checkpoint")
        found[key] = value
    return found


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` on top, section by section."""
    merged = copy.deepcopy(dict(base))
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return merged
