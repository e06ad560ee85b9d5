# SPDX-License-Identifier: BSD-3-Clause
"""Reading and writing the tables of a checkpoint's JSON files."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..utils.foreign_files import is_count, is_finite, shown

MAX_SIZE, MAX_LAYERS = 2**20, 2**10
"""Of what is counted in a network, and of its layers: far above the released ones, and not more than can be built."""


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
            raise ValueError(f"{key} is {shown(table[key])}, but {network} has {expected!r}: this is another network")


def numbers(cls: type, table: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of ``table`` that are fields of ``cls``, checked to be positive numbers of the field's kind."""
    kinds = {f.name: f.type for f in fields(cls)}
    found = {}
    for key, value in table.items():
        if key not in kinds:
            continue
        if "float" in str(kinds[key]):  # annotations are strings here
            is_size = is_finite(value) and value >= 0
        else:
            is_size = is_count(value, 1) and value <= (MAX_LAYERS if "layer" in key or key == "depth" else MAX_SIZE)
        if not is_size:
            raise ValueError(f"{key} is {shown(value)}, not a size: take the file from the original checkpoint")
        found[key] = value
    return found


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` on top, section by section."""
    merged = copy.deepcopy(dict(base))
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return merged
