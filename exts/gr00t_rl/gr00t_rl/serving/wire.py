# SPDX-License-Identifier: BSD-3-Clause
"""Messages as bytes: msgpack, with arrays as npy files inside.

Both directions of the protocol of NVIDIA's inference services. A message comes from whoever reaches the port, before
anybody has looked at its token: what is read is bounded in size, and nothing in it is executed or unpickled.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgpack
import numpy as np

MAX_BYTES = 64 * 2**20
"""Longest message that is read [bytes]: some 400 pictures of 224 x 224."""
MAX_ENTRIES = 4096
"""Most entries of one table or list."""
MAX_CONTAINERS = 4096
"""Most tables and lists of a message: each takes far more memory than its one byte."""
KINDS = "biufU"
"""Kinds of arrays that are read: truth values, numbers and texts."""

_ARRAY, _CONFIG = "__ndarray_class__", "__ModalityConfig_class__"
_VERSIONS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class WireError(ValueError):
    """Bytes that are no message, in one line."""


class ModalityConfig(NamedTuple):
    """What a part of an observation or action holds: one of "video", "state", "action" and "language"."""

    delta_indices: list[int]
    """Steps, from the present one."""
    modality_keys: list[str]
    """Keys, in order."""
    as_text: bool = True
    """On the wire it is JSON in a text, as in N1.5; False: a table, as in N1.7."""


def encode(content: Any) -> bytes:
    """Return a message. Tables, lists, texts, numbers, numpy arrays and :class:`ModalityConfig` can be in it."""
    packed: Any = msgpack.packb(_plain(content), use_bin_type=True)
    return packed


def _plain(content: Any) -> Any:
    """``content`` with arrays and configs in the form that they travel in."""
    if isinstance(content, ModalityConfig):
        table = {"delta_indices": content.delta_indices, "modality_keys": content.modality_keys}
        return {_CONFIG: True, "as_json": json.dumps(table) if content.as_text else table}
    if isinstance(content, Mapping):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_plain(value) for value in content]
    if isinstance(content, np.ndarray):
        file = io.BytesIO()
        np.save(file, content, allow_pickle=False)
        return {_ARRAY: True, "as_npy": file.getvalue()}
    return content.item() if isinstance(content, np.generic) else content


def decode(message: bytes) -> Any:
    """Return what a message holds; arrays are read-only views of it.

    Raises:
        WireError: It is too long, or no message.
    """
    if len(message) > MAX_BYTES:
        raise WireError(f"the message has {len(message)} bytes; send at most {MAX_BYTES}")
    containers = 0

    def count(container: Any) -> Any:
        nonlocal containers
        containers += 1
        if containers > MAX_CONTAINERS:
            raise WireError(f"the message has more than {MAX_CONTAINERS} tables and lists; send fewer")
        return _restored(container) if isinstance(container, dict) else container

    try:
        return msgpack.unpackb(
            message,
            object_hook=count,
            list_hook=count,
            ext_hook=_refuse_extension,
            strict_map_key=True,
            max_array_len=MAX_ENTRIES,
            max_map_len=MAX_ENTRIES,
        )
    except WireError:
        raise
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise WireError(f"the message is no msgpack of this protocol ({reason})") from None


def _restored(table: dict[Any, Any]) -> Any:
    if not all(isinstance(key, str) for key in table):
        raise WireError("the message has a table whose keys are bytes; send texts")
    if _ARRAY in table:
        return _array(table.get("as_npy"))
    if _CONFIG not in table:
        return table
    content: Any = table.get("as_json")
    as_text = isinstance(content, str)
    try:
        content = json.loads(content) if isinstance(content, str) else content
        return ModalityConfig(list(content["delta_indices"]), list(content["modality_keys"]), as_text)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise WireError(f"a {_CONFIG} has no delta_indices and modality_keys in as_json") from None


def _array(content: Any) -> np.ndarray:
    """Read an npy file without trusting its header: numpy's own reader allocates what that claims."""
    if not isinstance(content, bytes):
        raise WireError(f"an array's as_npy is a {type(content).__name__}; send the bytes of numpy.save")
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        if version not in _VERSIONS:
            raise ValueError(f"version {version}")
        shape, by_column, dtype = _VERSIONS[version](file)
    except Exception as error:  # its header is a Python literal: whatever the parser raises
        reason = " ".join(str(error).split())[:120]
        raise WireError(f"an array's as_npy is no npy file ({reason}); send the bytes of numpy.save") from None
    if dtype.kind not in KINDS or dtype.itemsize == 0:
        raise WireError(f"an array is {dtype}; send numbers, or texts")
    held, count = len(content) - file.tell(), math.prod(shape)
    if min(shape, default=0) < 0 or held != count * dtype.itemsize:
        raise WireError(f"an array of {dtype} {list(shape)} comes with {held} bytes; send the bytes of numpy.save")
    try:
        flat = np.frombuffer(content, dtype, count, offset=file.tell()) if count else np.empty(0, dtype)
        return flat.reshape(shape, order="F" if by_column else "C")
    except (ValueError, OverflowError):  # more dimensions, or larger ones, than numpy takes
        raise WireError(f"an array has the shape {str(list(shape))[:80]}, which numpy does not take") from None


def _refuse_extension(code: int, _: bytes) -> Any:
    raise WireError(f"the message has a msgpack extension of type {code}; send none")
