# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints that several tests of a file read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from serving_helpers import Case  # not at run time: tests of bytes need no network


@pytest.fixture(scope="module")
def make_case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    """Return a checkpoint by the name that ``write_case`` knows it by; each is written once."""
    from serving_helpers import write_case

    made: dict[str, Case] = {}

    def make(name: str) -> Case:
        if name not in made:
            made[name] = write_case(name, tmp_path_factory.mktemp("served") / "checkpoint")
        return made[name]

    return make
