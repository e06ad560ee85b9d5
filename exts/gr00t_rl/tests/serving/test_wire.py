# SPDX-License-Identifier: BSD-3-Clause
"""Bytes of the protocol: read as others write them, and refused in one line where they are none."""

from __future__ import annotations

import io
import json
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from wire_client import from_table, to_table

from gr00t_rl.serving import wire
from gr00t_rl.serving.wire import ModalityConfig, WireError, decode, encode


def npy(header: str, content: bytes = b"", version: tuple[int, int] = (1, 0)) -> dict[str, object]:
    """An array with a header of our choice."""
    text = header.encode().ljust(117) + b"\n"
    magic = b"\x93NUMPY" + bytes(version) + len(text).to_bytes(2 if version == (1, 0) else 4, "little")
    return {"__ndarray_class__": True, "as_npy": magic + text + content}


def packed(content: Any) -> bytes:
    """A message that none of our code has written."""
    message: Any = msgpack.packb(content, default=to_table)
    return message


def claim(descr: str, shape: str) -> str:
    return f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"


@settings(max_examples=25, deadline=None)
@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.float32, np.float64, np.int64, np.bool_, np.dtype(">f4"), np.dtype("<U3")]),
        arrays.array_shapes(min_dims=0, min_side=0, max_dims=4, max_side=3),
    ),
    st.booleans(),
)
def test_arrays_are_those_of_numpy_save_and_load(array, by_column):
    """In both directions; whatever their order in memory."""
    array = np.asfortranarray(array) if by_column else array
    found = decode(packed({"x": array}))["x"]
    assert found.dtype == array.dtype and found.shape == array.shape
    np.testing.assert_array_equal(found, array)
    back = msgpack.unpackb(encode({"x": array}), object_hook=from_table)["x"]
    np.testing.assert_array_equal(back, array)


def test_modality_configs_have_the_form_of_each_generation():
    old, new = ModalityConfig([0], ["state.arm"]), ModalityConfig([0, 1], ["arm"], as_text=False)
    found = msgpack.unpackb(encode({"old": old, "new": new}))
    assert found["old"]["__ModalityConfig_class__"] is True
    assert json.loads(found["old"]["as_json"]) == {"delta_indices": [0], "modality_keys": ["state.arm"]}
    assert found["new"]["as_json"] == {"delta_indices": [0, 1], "modality_keys": ["arm"]}
    assert decode(encode({"old": old, "new": new})) == {"old": old, "new": new}


def test_numbers_of_numpy_become_plain():
    assert msgpack.unpackb(encode({"a": np.float32(0.5), "b": (np.int64(2), None)})) == {"a": 0.5, "b": [2, None]}


OBJECTS = io.BytesIO()
np.save(OBJECTS, np.array([{}], dtype=object), allow_pickle=True)
ARCHIVE = io.BytesIO()
np.savez(ARCHIVE, x=np.zeros(2))
BAD = {
    "nothing": b"",
    "a reserved byte": b"\xc1",
    "half a table": b"\x81",
    "two messages": packed({}) * 2,
    "a list that claims 4 G entries": b"\xdd\xff\xff\xff\xff",
    "a text that claims 4 GB": b"\xdb\xff\xff\xff\xff",
    "lists without end": b"\x91" * 5000,
    "tables without end": b"\x81\xa1a" * 5000,
    "many empty lists": msgpack.packb([[[]] * 4000, [[]] * 4000]),
    "a long list": msgpack.packb([0] * 5000),
    "numbers as keys": msgpack.packb({1: 2}),
    "bytes as keys": msgpack.packb({b"endpoint": 2}),
    "a text that is none": b"\xa2\xff\xff",
    "an extension": msgpack.packb(msgpack.ExtType(7, b"x")),
    "pickled objects": msgpack.packb({"__ndarray_class__": True, "as_npy": OBJECTS.getvalue()}),
    "an archive": msgpack.packb({"__ndarray_class__": True, "as_npy": ARCHIVE.getvalue()}),
    "no bytes of an array": msgpack.packb({"__ndarray_class__": True}),
    "no npy file": msgpack.packb({"__ndarray_class__": True, "as_npy": b"npy"}),
    "a header that is code": msgpack.packb(npy("__import__('os')")),
    "a shape that claims 8 TB": msgpack.packb(npy(claim("<f8", "(1000000000000,)"), bytes(8))),
    "a negative shape": msgpack.packb(npy(claim("<f8", "(-1, -1)"), bytes(8))),
    "more dimensions than there are": msgpack.packb(npy(claim("<f8", str((1,) * 70)).replace(" ", ""), bytes(8))),
    "empty, but larger than memory": msgpack.packb(npy(claim("<f8", f"(0, {2**70})"))),
    "too many bytes": msgpack.packb(npy(claim("<f8", "(1,)"), bytes(9))),
    "numbers without size": msgpack.packb(npy(claim("<U0", "(1,)"))),
    "dates": msgpack.packb(npy(claim("<M8[s]", "(1,)"), bytes(8))),
    "another version": msgpack.packb(npy(claim("<f8", "(1,)"), bytes(8), (9, 0))),
    "a config without keys": msgpack.packb({"__ModalityConfig_class__": True, "as_json": "{}"}),
    "a config that is no JSON": msgpack.packb({"__ModalityConfig_class__": True, "as_json": "{"}),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_message_is_told_in_one_line(kind):
    with pytest.raises(WireError) as error:
        decode(BAD[kind])
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_long_messages_are_not_read(monkeypatch):
    monkeypatch.setattr(wire, "MAX_BYTES", 10)
    with pytest.raises(WireError, match="the message has 11 bytes; send at most 10"):
        decode(bytes(11))


WHOLE = encode({"endpoint": "get_action", "data": {"x": np.arange(6, dtype=np.float32), "t": ["go"]}})


@settings(max_examples=80, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255), st.integers(0, len(WHOLE)))
def test_a_damaged_message_is_read_or_refused(place, byte, length):
    """A byte changed and the end cut off: there is no third outcome."""
    damaged = bytearray(WHOLE)
    damaged[place] = byte
    for message in (bytes(damaged), bytes(damaged[:length])):
        try:
            decode(message)
        except WireError as error:
            assert "\n" not in str(error)
