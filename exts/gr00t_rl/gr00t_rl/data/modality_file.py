# SPDX-License-Identifier: BSD-3-Clause
"""A modality from a file, where no task declares one.

Two forms are read, as JSON or YAML: the fields of :class:`~gr00t_rl.gr00t.Modality`, as its ``from_dict`` takes them,
and the ``meta/modality.json`` of a dataset, which says where each key lies in the recorded columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..gr00t import ActionKey, Modality, StateKey
from ..utils.errors import ConfigurationError
from ..utils.foreign_files import parse_json_or_yaml, read_text
from .layout import STATE

OPTION = "--modality"


class ModalityFile(NamedTuple):
    """What a file says."""

    modality: Modality
    dataset: Mapping[str, Any] | None
    """What stands for the content of a dataset's modality.json; None: each dataset's own."""


def read_modality_file(path: Path, embodiment_tag: str | None = None) -> ModalityFile:
    """Read a modality from a JSON or YAML file, in either form.

    Args:
        path: The file.
        embodiment_tag: Name of the embodiment in the checkpoint; a file of the first form has its own.

    Raises:
        ConfigurationError: The file cannot be read, or is no modality.
    """
    try:
        content = parse_json_or_yaml(read_text(path))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{OPTION} {path} cannot be read ({reason}); give a JSON or YAML file") from None
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"{OPTION} {path} holds a {type(content).__name__}; give a table of keys")
    if not is_of_dataset(content):
        modality = _checked(path, lambda: Modality.from_dict(content))
        if embodiment_tag not in (None, modality.embodiment_tag):
            raise ConfigurationError(
                f"--embodiment_tag is {embodiment_tag!r}, but {path} says {modality.embodiment_tag!r}; drop it, or "
                "change the file"
            )
        return ModalityFile(modality, None)
    if embodiment_tag is None:
        raise ConfigurationError(
            f"{OPTION} {path} names no embodiment; set --embodiment_tag, as the checkpoint calls it, or new_embodiment"
        )
    return ModalityFile(modality_of_dataset(content, embodiment_tag, path), content)


def is_of_dataset(content: Mapping[str, Any]) -> bool:
    """Whether a table has the form of a dataset's modality.json: it names no embodiment, and columns by tables."""
    states = content.get("state")
    entries = states.values() if isinstance(states, Mapping) else ()
    return "embodiment_tag" not in content and not any(
        isinstance(entry, Mapping) and "group" in entry for entry in entries
    )


def modality_of_dataset(content: Mapping[str, Any], embodiment_tag: str, path: Path) -> Modality:
    """The modality whose keys are those of a dataset's modality.json, in its order.

    States and pictures are read from observation groups that have the names of the recorded columns. Actions follow
    each other in the order of the keys. Everything is scaled by minimum and maximum, as the released configs do.

    Args:
        content: Of the modality.json.
        embodiment_tag: Name of the embodiment in the checkpoint.
        path: Where it was read, for messages.

    Raises:
        ConfigurationError: It is no such table.
    """

    def build() -> Modality:
        state = {
            str(key): StateKey(entry.get("original_key") or STATE, entry["start"], entry["end"])
            for key, entry in (content.get("state") or {}).items()
        }
        action, position = {}, 0
        for key, entry in (content.get("action") or {}).items():
            width = entry["end"] - entry["start"]
            action[str(key)] = ActionKey(position, position + width, absolute=entry.get("absolute", True))
            position += width
        video = {str(key): entry.get("original_key") or key for key, entry in (content.get("video") or {}).items()}
        return Modality(embodiment_tag, video, state, action)

    return _checked(path, build)


def _checked(path: Path, build: Any) -> Modality:
    try:
        return build()
    except KeyError as error:
        raise ConfigurationError(f"{OPTION} {path}: a key has no {error}; set start and end of each") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{OPTION} {path}: {error}") from None
