# SPDX-License-Identifier: BSD-3-Clause
"""A client that knows the protocol's bytes and nothing of ours: ZeroMQ, msgpack and ``numpy.save``."""

from __future__ import annotations

import io
from typing import Any

import msgpack
import numpy as np
import zmq


class WireClient:
    """Sends requests and returns answers as they are on the wire, arrays read by ``numpy.load``."""

    def __init__(self, address: str, api_token: str | None = None) -> None:
        self._token = api_token
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REQ)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVTIMEO, 120_000)
        self._socket.connect(address)

    def ask(self, endpoint: str | None = None, data: Any = None) -> Any:
        """Send a request; what is None is left out."""
        request: dict[str, Any] = {} if endpoint is None else {"endpoint": endpoint}
        request |= {} if data is None else {"data": data}
        request |= {} if self._token is None else {"api_token": self._token}
        message: Any = msgpack.packb(request, default=to_table)
        return self.send(message)

    def send(self, message: bytes) -> Any:
        """Send bytes and return the one answer."""
        self._socket.send(message)
        answer = self._socket.recv()
        assert not self._socket.poll(0), "more than one answer"
        return msgpack.unpackb(answer, object_hook=from_table)

    def close(self) -> None:
        self._socket.close()
        self._context.term()


def to_table(value: Any) -> Any:
    """What msgpack does not know: arrays."""
    assert isinstance(value, np.ndarray)
    file = io.BytesIO()
    np.save(file, value, allow_pickle=False)
    return {"__ndarray_class__": True, "as_npy": file.getvalue()}


def from_table(table: dict[str, Any]) -> Any:
    return np.load(io.BytesIO(table["as_npy"]), allow_pickle=False) if "__ndarray_class__" in table else table
