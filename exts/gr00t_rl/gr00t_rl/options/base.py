# SPDX-License-Identifier: BSD-3-Clause
"""The base class of all groups of options: what is declared, and checked when it is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from .check import check_known, check_values
from .declaration import Relation


@dataclasses.dataclass
class Options:
    """Base of all groups of options."""

    @classmethod
    def relations(cls) -> tuple[Relation, ...]:
        """Return what must hold between the options, that of the base classes first."""
        return ()

    @classmethod
    def parse(cls, settings: Mapping[str, Any] | Self, path: str = "") -> Self:
        """Return the options of keyword settings, checked; an object of this class is checked and returned.

        Args:
            settings: Values by name.
            path: Where the settings stand, such as "agent.algorithm"; begins the names in messages.

        Raises:
            ConfigurationError: At the first setting that cannot work, or that there is no option for.
        """
        if isinstance(settings, Mapping):
            check_known(cls, settings, path)
            settings = cls(**settings)
        check_values(cls, settings, path)
        return settings
