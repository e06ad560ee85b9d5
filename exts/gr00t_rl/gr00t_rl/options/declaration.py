# SPDX-License-Identifier: BSD-3-Clause
"""How an option is declared: once, as a dataclass field with its type, default, range and meaning.

Everything else is read off the declaration: constructors take the dataclass, Isaac Lab's cfg classes inherit it, the
check before a run reads it, and so do the option tables of the documentation::

    @dataclass
    class PpoOptions(Options):
        lam: float = option(0.95, "GAE's lambda, per decision.", low=0, high=1)
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

_KEY = "option"


@dataclasses.dataclass(frozen=True)
class Option:
    """What is declared of an option besides its name, type and default."""

    doc: str
    """One line: what it is, its unit, and where it comes from."""
    low: float | None = None
    """Smallest value."""
    above: float | None = None
    """Bound that a value must exceed."""
    high: float | None = None
    """Largest value."""
    below: float | None = None
    """Bound that a value must stay under."""
    infinite: bool = False
    """Whether infinity is a value."""
    choices: tuple[str, ...] | None = None
    """All values that a text may have."""
    least: int = 0
    """Smallest number of entries of a list, or of characters of a text, white space aside."""
    entries: type | None = None
    """Class that declares the settings of each entry of a mapping, itself a mapping."""
    keys: tuple[str, ...] | None = None
    """All names that the entries of a mapping may have."""
    only_with: tuple[str, tuple[Any, ...]] | None = None
    """Another option and its values with which this one is used: its range matters only then."""
    test: Callable[[Any], str | None] | None = None
    """Returns why a value of the right type cannot work on this machine, with what to set, or None."""


class Relation(NamedTuple):
    """What must hold between options; declared beside them."""

    option: str
    """Name of the option that the message is about."""
    holds: Callable[[Any], bool]
    """Whether it holds for an options object. Not called where an option that it reads is wrong by itself."""
    expected: str
    """What to set; the names of other options in braces are shown with their path and value."""


def option(default: Any = dataclasses.MISSING, doc: str = "", **properties: Any) -> Any:
    """Declare an option as a dataclass field.

    Args:
        default: The default; a list or dict is copied for each object. Without one the option must be given.
        doc: See :class:`Option`.
        **properties: The other fields of :class:`Option`.
    """
    metadata = {_KEY: Option(doc, **properties)}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Declared(NamedTuple):
    """An option with its name, type and default."""

    name: str
    type: Any
    default: Any
    """``dataclasses.MISSING`` where it must be given."""
    option: Option


@functools.cache
def declared(cls: type) -> dict[str, Declared]:
    """Return the options of a class by name, base classes first; a sub-class may give another default.

    A cfg class that inherits the options gives its defaults, whether or not it declares them again.
    """
    found: dict[str, Declared] = {}
    for base in reversed(cls.__mro__):
        hints, own_names = None, inspect.get_annotations(base)
        for name, field in base.__dict__.get("__dataclass_fields__", {}).items():
            own: Option | None = field.metadata.get(_KEY)
            if own is not None and name in own_names and name not in found:
                hints = hints or typing.get_type_hints(base)
                found[name] = Declared(name, hints[name], _default(field), own)
            elif name in found:
                found[name] = found[name]._replace(default=_default(field))
    return found


def _default(field: dataclasses.Field) -> Any:
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()
