# SPDX-License-Identifier: BSD-3-Clause
"""A finding of the doctor, and questions to the environment that never fail themselves."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from importlib import metadata


@dataclass(frozen=True)
class Finding:
    """One thing that works, or does not."""

    name: str
    works: bool
    found: str
    """Version, device, or what is wrong."""
    get: str = ""
    """Where it does not work: the command or setting that helps."""
    needed: bool = False
    """Whether the README's first command cannot do without."""


def in_line(error: BaseException) -> str:
    """An error in one line of reasonable length."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:160]


def version_of(distribution: str) -> str | None:
    """Version of an installed distribution, None where there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def is_there(*modules: str) -> bool:
    """Whether all modules can be found; none is imported but the parents of sub-modules."""
    try:
        return all(importlib.util.find_spec(module) is not None for module in modules)
    except (ImportError, ValueError, AttributeError):
        return False


def importing(module: str) -> str | None:
    """What goes wrong when ``module`` is imported, in one line; None if nothing does."""
    try:
        importlib.import_module(module)
    except Exception as error:  # broken libraries raise what they like
        return in_line(error)
    return None
