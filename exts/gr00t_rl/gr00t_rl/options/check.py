# SPDX-License-Identifier: BSD-3-Clause
"""The one check of declared options: type, range, choices, names, and what must hold between them."""

from __future__ import annotations

import dataclasses
import difflib
import math
import string
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ..utils.errors import ConfigurationError
from .declaration import Declared, Option, Relation, declared


class Declaration(Protocol):
    """A class with declared options, such as :class:`~gr00t_rl.options.Options`."""

    @classmethod
    def relations(cls) -> tuple[Relation, ...]:
        """Return what must hold between the options."""
        ...


def check_known(cls: type, names: Iterable[str], path: str) -> None:
    """Refuse names that are no options; the message has the nearest known one.

    Args:
        cls: Class with declared options.
        names: Names that were set; a mapping's values are shown.
        path: Where they stand, such as "agent.algorithm".

    Raises:
        ConfigurationError: At the first unknown name.
    """
    known = declared(cls)
    for name in names:
        if name not in known:
            value = names[name] if isinstance(names, Mapping) else None
            raise unknown(name, value, known, path)


def unknown(name: str, value: Any, known: Iterable[str], path: str) -> ConfigurationError:
    """Return the error of a setting that does not exist."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {_join(path, close[0])}?" if close else f"set one of {', '.join(sorted(known))}"
    return ConfigurationError(f"{_join(path, name)} is {value!r}, but there is no such setting; {hint}")


def check_values(cls: type[Declaration], options: Any, path: str) -> None:
    """Check the values of all options of ``cls`` in an object that has them as attributes, and their relations.

    Raises:
        ConfigurationError: At the first one that cannot work.
    """
    for item in declared(cls).values():
        if hasattr(options, item.name):
            check_value(item, getattr(options, item.name), path, _is_used(item.option, options))
    for relation in cls.relations():
        fields = [name for _, name, _, _ in string.Formatter().parse(relation.expected) if name]
        if not all(hasattr(options, name) for name in (relation.option, *fields)):
            continue
        if not relation.holds(options):
            expected = relation.expected.format(
                **{name: f"{_join(path, name)}={getattr(options, name)}" for name in fields}
            )
            found = getattr(options, relation.option)
            raise ConfigurationError(f"{_join(path, relation.option)} is {found!r}; set {expected}")


def check_value(item: Declared, value: Any, path: str = "", is_used: bool = True) -> None:
    """Check one value.

    Args:
        item: The declared option.
        value: What was set.
        path: See :func:`check_known`.
        is_used: Whether the option has an effect: if not, only the type is checked.

    Raises:
        ConfigurationError: If the value cannot work.
    """
    name = _join(path, item.name)
    if value is dataclasses.MISSING:
        raise ConfigurationError(f"{name} is not set; set {expected(item)}")
    if not _has_type(value, item.type, item.option, is_used):
        raise ConfigurationError(f"{name} is {value!r}; set {expected(item)}")
    if isinstance(value, Mapping):
        _check_entries(item.option, value, name)
    if item.option.test is not None and is_used:
        problem = item.option.test(value)
        if problem is not None:
            raise ConfigurationError(f"{name} is {value!r}, but {problem}")


def _check_entries(option: Option, value: Mapping[str, Any], path: str) -> None:
    """Check the names of a mapping's entries, and what is set in each, where that is declared."""
    for name, entry in value.items():
        if option.keys is not None and name not in option.keys:
            raise unknown(name, entry, option.keys, path)
        if option.entries is not None:
            if not isinstance(entry, Mapping):
                raise ConfigurationError(f"{_join(path, name)} is {entry!r}; set a mapping")
            check_known(option.entries, entry, _join(path, name))
            check_values(option.entries, types.SimpleNamespace(**entry), _join(path, name))


def expected(item: Declared) -> str:
    """Return what may be set, in words."""
    return " or ".join(dict.fromkeys(_words(part, item.option) for part in _parts(item.type)))


def _is_used(option: Option, options: Any) -> bool:
    if option.only_with is None:
        return True
    name, values = option.only_with
    return getattr(options, name, values[0]) in values


def _parts(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type itself."""
    is_union = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
    return typing.get_args(kind) if is_union else (kind,)


def _has_type(value: Any, kind: Any, option: Option, in_range: bool) -> bool:
    """Return whether a value is of a type and, if ``in_range``, within the declared bounds."""
    return any(_is_one(value, part, option, in_range) for part in _parts(kind))


def _is_one(value: Any, kind: Any, option: Option, in_range: bool) -> bool:
    origin = typing.get_origin(kind) or kind
    if kind is type(None):
        return value is None
    if kind is Any:
        return True
    if kind is bool:
        return isinstance(value, bool)
    if kind in (int, float):
        return _is_number(value, kind) and (not in_range or _in_range(value, option))
    if kind is str:
        return isinstance(value, str) and (not in_range or _is_text(value, option))
    if origin in (list, tuple):
        inner = (typing.get_args(kind) or (Any,))[0]
        return (
            isinstance(value, list | tuple)
            and len(value) >= option.least
            and all(_has_type(entry, inner, dataclasses.replace(option, least=1), in_range) for entry in value)
        )
    if origin is dict:
        return _is_mapping(value, typing.get_args(kind), option, in_range)
    return isinstance(value, origin)


def _is_mapping(value: Any, kinds: tuple[Any, ...], option: Option, in_range: bool) -> bool:
    """Return whether a value is a mapping whose values have the declared type; a cfg object is one too."""
    if not isinstance(value, Mapping):
        return dataclasses.is_dataclass(value)
    return not kinds or all(_has_type(entry, kinds[1], option, in_range) for entry in value.values())


def _is_number(value: Any, kind: type) -> bool:
    """Return whether a value is a number of this kind: True and False are none, nor is what is not a number."""
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        return False
    if isinstance(value, int):  # one of hundreds of digits is no float, and none that can be counted to
        return abs(value) < 2**63
    return not math.isnan(value)


def _in_range(value: float, option: Option) -> bool:
    return (
        (option.infinite or not math.isinf(value))
        and (option.low is None or value >= option.low)
        and (option.above is None or value > option.above)
        and (option.high is None or value <= option.high)
        and (option.below is None or value < option.below)
    )


def _is_text(value: str, option: Option) -> bool:
    return value in option.choices if option.choices is not None else len(value.strip()) >= option.least


def _words(kind: Any, option: Option) -> str:
    """Return in words what a part of a type with its bounds admits."""
    origin = typing.get_origin(kind) or kind
    if kind is type(None):
        return "null"
    if kind is bool:
        return "True or False"
    if kind is str:
        if option.choices is not None:
            return f"one of {', '.join(option.choices)}"
        return "a text that is not empty" if option.least else "a text"
    if kind in (int, float):
        return _number_words(kind, option)
    if origin in (list, tuple):
        inner = (typing.get_args(kind) or (Any,))[0]
        return "a list of texts" if inner is str else f"a list, each entry {_words(inner, option)}"
    if origin is dict:
        inner = (*typing.get_args(kind), Any, Any)[1]
        return "a mapping" if inner is Any else f"a mapping whose values are {_words(inner, option)}"
    return f"a {getattr(kind, '__name__', kind)}"


def _number_words(kind: type, option: Option) -> str:
    what = "an integer" if kind is int else ".inf or a number" if option.infinite else "a number"
    low = option.low if option.low is not None else option.above
    high = option.high if option.high is not None else option.below
    if low is not None and high is not None:
        if kind is int:
            return f"{what} from {low} to {high}"
        left, right = "(["[option.low is not None], ")]"[option.high is not None]
        return f"{what} in {left}{low:g}, {high:g}{right}"
    if low is not None:
        return f"{what} of at least {low:g}" if option.low is not None else f"{what} more than {low:g}"
    if high is not None:
        return f"{what} of at most {high:g}" if option.high is not None else f"{what} less than {high:g}"
    return what if option.infinite or kind is int else "a finite number"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
