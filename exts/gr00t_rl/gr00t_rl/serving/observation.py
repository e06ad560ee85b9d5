# SPDX-License-Identifier: BSD-3-Clause
"""From a request's data to an observation that the policy can take, or to one line that says what is wrong.

Two forms are read. Flat, of N1.5: ``video.KEY``, ``state.KEY`` and an ``annotation.…`` in one table, of one robot
([T, ...]) or of several ([B, T, ...]). Nested, of N1.7: tables ``video``, ``state`` and ``language`` in a table
``observation``, always of several. T, the steps of the past, is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..gr00t.settings import PolicySettings

NESTED = "observation"
"""Entry by which a request of the nested form is known."""
LANGUAGE = "annotation.human.action.task_description"
"""Key of the instruction in N1.5's examples; any that begins with ``annotation.`` is taken."""
NESTED_LANGUAGE = "annotation.human.task_description"
"""Key of the instruction in N1.7's examples; any is taken."""
MAX_TEXT = 2048
"""Longest instruction [characters]."""
MAX_SIDE = 4096
"""Longest side of a picture where the settings say no size [px]."""


class ObservationError(ValueError):
    """An observation that the policy does not take, in one line."""


@dataclass(frozen=True)
class Observation:
    """What B robots see at one decision."""

    images: list[np.ndarray]
    """uint8 [B, H, W, 3] of each camera, in the order of the modality."""
    state: np.ndarray
    """Raw, float32 [B, S]: the modality's keys in order."""
    instructions: list[str]
    """B texts."""
    batched: bool = True
    """Whether the answer has a batch dimension."""
    nested: bool = False
    """Whether the answer has the nested form."""


def read_observation(data: Any, settings: PolicySettings) -> Observation:
    """Read the data of a ``get_action``.

    Args:
        data: As it came off the wire.
        settings: Of the policy: its keys, and the sizes of its pictures.

    Raises:
        ObservationError: The first thing that is wrong.
    """
    _expect(isinstance(data, Mapping), f"data is a {_kind(data)}; send a table with the observation")
    nested = NESTED in data
    video, state, language = _nested(data) if nested else _flat(data)
    modality = settings.modality
    _check_keys("video", video, modality.video)
    _check_keys("state", state, modality.state)
    ranks = {name: _rank(f"state.{name}", value) for name, value in state.items()}
    batched = nested or all(rank == 3 for rank in ranks.values())
    columns = [_state(f"state.{name}", state[name], key.dim, batched) for name, key in modality.state.items()]
    images = [_image(f"video.{name}", video[name], settings.image_sizes.get(name), batched) for name in modality.video]
    count = len(columns[0])
    arrays = dict(zip((f"state.{name}" for name in modality.state), columns, strict=True))
    arrays |= zip((f"video.{name}" for name in modality.video), images, strict=True)
    for name, array in arrays.items():
        first = next(iter(arrays))
        _expect(len(array) == count, f"{name} is of {len(array)} robots and {first} of {count}; send as many of each")
    _expect(count > 0, "the batch is empty; send at least one observation")
    return Observation(images, np.concatenate(columns, axis=1), _texts(language, count), batched, nested)


def _expect(is_right: bool, message: str) -> None:
    if not is_right:
        raise ObservationError(message)


def _kind(value: Any) -> str:
    """What a value is, for messages."""
    if isinstance(value, np.ndarray):
        return f"array of {value.dtype} {list(value.shape)}"
    return "null" if value is None else {"dict": "table"}.get(type(value).__name__, type(value).__name__)


# -- the two forms ----------------------------------------------------------------------------------------------------


def _flat(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    parts: dict[str, dict[str, Any]] = {"video": {}, "state": {}, "annotation": {}}
    for name, value in data.items():
        part, _, key = name.partition(".")
        _expect(
            part in parts and bool(key),
            f"{name[:80]!r} is no entry of an observation; send video.KEY, state.KEY and {LANGUAGE}",
        )
        parts[part][key] = value
    return parts["video"], parts["state"], {f"annotation.{key}": text for key, text in parts["annotation"].items()}


def _nested(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    observation = data[NESTED]
    _expect(isinstance(observation, Mapping), f"{NESTED} is a {_kind(observation)}; send a table")
    parts = {"video": {}, "state": {}, "language": {}}
    for name, value in observation.items():
        _expect(name in parts, f"{NESTED} has an entry {name[:80]!r}; send {', '.join(parts)}")
        _expect(isinstance(value, Mapping), f"{NESTED}.{name} is a {_kind(value)}; send a table of keys")
        parts[name] = dict(value)
    return parts["video"], parts["state"], parts["language"]


def _check_keys(part: str, found: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for name in known:
        _expect(name in found, f"{part}.{name} is missing; the policy reads {_names(part, known)}")
    for name in found:
        reads = f"the policy reads {_names(part, known)}" if known else f"the policy reads no {part}"
        _expect(name in known, f"{part}.{name[:80]} is unknown; {reads}")


def _names(part: str, keys: Mapping[str, Any]) -> str:
    return ", ".join(f"{part}.{key}" for key in keys)


# -- arrays -----------------------------------------------------------------------------------------------------------


def _rank(name: str, value: Any) -> int:
    _expect(isinstance(value, np.ndarray), f"{name} is a {_kind(value)}; send a numpy array")
    return value.ndim


def _present(name: str, value: np.ndarray, batched: bool, form: str) -> np.ndarray:
    """Check the dimensions before ``form``, and return [B, ...] of the present step."""
    wanted = f"[{'B, ' * batched}T=1, {form}]"
    rank = form.count(",") + 2 + batched
    _expect(value.ndim == rank, f"{name} is {list(value.shape)}; send {wanted}")
    steps = value.shape[1 if batched else 0]
    _expect(steps == 1, f"{name} is {list(value.shape)}, {steps} steps; the policy reads the present alone, {wanted}")
    return value[:, 0] if batched else value


def _state(name: str, value: np.ndarray, dim: int, batched: bool) -> np.ndarray:
    """One key of the state, float32 [B, dim]."""
    value = _present(name, value, batched, f"D={dim}")
    _expect(value.shape[-1] == dim, f"{name} has {value.shape[-1]} numbers; send {dim}")
    _expect(value.dtype.kind == "f", f"{name} is {value.dtype}; send float32")
    with np.errstate(over="ignore"):
        value = value.astype(np.float32)
    _expect(bool(np.isfinite(value).all()), f"{name} has numbers that are not finite; send finite ones")
    return value


def _image(name: str, value: Any, size: tuple[int, int] | None, batched: bool) -> np.ndarray:
    """The pictures of one camera, uint8 [B, H, W, 3]."""
    _expect(isinstance(value, np.ndarray), f"{name} is a {_kind(value)}; send a numpy array")
    value = _present(name, value, batched, "H, W, 3")
    _expect(value.dtype == np.uint8, f"{name} is {value.dtype}; send uint8, 0 to 255")
    height, width, channels = value.shape[1:]
    _expect(channels == 3, f"{name} has {channels} channels; send RGB, the last dimension 3")
    if size is None:
        is_size = 0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE
        _expect(is_size, f"{name} is {height} x {width} pixels; send 1 to {MAX_SIDE} a side")
    else:
        wanted = f"{size[0]} x {size[1]}, as in training"
        _expect((height, width) == size, f"{name} is {height} x {width} pixels (height x width); send {wanted}")
    return np.ascontiguousarray(value)


# -- instructions -----------------------------------------------------------------------------------------------------


def _texts(language: Mapping[str, Any], count: int) -> list[str]:
    """One text per robot: as many, or one for all."""
    _expect(bool(language), f"the instruction is missing; send {LANGUAGE}, a list of one text")
    names = list(language)
    _expect(len(names) == 1, f"there are {len(names)} instructions, {' and '.join(names[:2])[:160]}; send one of them")
    name, value = names[0][:80], language[names[0]]
    if isinstance(value, np.ndarray):
        value = value.tolist()
    texts: Any = [value] if isinstance(value, str) else value
    _expect(isinstance(texts, list), f"{name} is a {_kind(language[names[0]])}; send a list of texts")
    # of several steps of the past, as the nested form has them, there is one
    texts = [text[0] if isinstance(text, list) and len(text) == 1 else text for text in texts]
    for text in texts:
        _expect(isinstance(text, str), f"{name} holds a {_kind(text)}; send one text per robot")
        _expect(0 < len(text) <= MAX_TEXT, f"{name} has {len(text)} characters; send 1 to {MAX_TEXT}")
    _expect(
        len(texts) in (1, count), f"{name} has {len(texts)} texts for {count} robots; send one each, or one for all"
    )
    return texts * count if len(texts) == 1 else texts
