# SPDX-License-Identifier: BSD-3-Clause
"""Everything the doctor looks at, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import devices, packages, parts
from .finding import Finding, in_line


@dataclass(frozen=True)
class Section:
    """Findings of one kind."""

    title: str
    findings: list[Finding]


def examine() -> Iterator[Section]:
    """Look at everything, section by section; a check that fails is a finding."""
    for title, check in (
        ("packages", packages.base),
        ("tasks", packages.tasks),
        ("devices", devices.devices),
        ("physics", parts.physics),
        ("cameras", parts.renderers),
        ("attention", parts.attention),
        ("loggers", parts.loggers),
        ("films and datasets", parts.pictures),
    ):
        yield Section(title, _guarded(title, check))


def _guarded(title: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except Exception as error:  # a doctor that dies helps nobody
        return [Finding(title, False, f"cannot be checked: {in_line(error)}", needed=title in ("packages", "tasks"))]
