# SPDX-License-Identifier: BSD-3-Clause
"""A client of the service, for a robot's own program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import zmq

from .wire import ModalityConfig, decode, encode


class ServerError(RuntimeError):
    """The server answered that it cannot do what it was asked; the message is its line."""


class PolicyClient:
    """Asks a policy server for actions. Needs numpy, msgpack and pyzmq, but neither torch nor the checkpoint.

    Example::

        with PolicyClient() as policy:
            chunk = policy.get_action(
                {
                    "video.front": picture[None],  # uint8 [1, H, W, 3]
                    "state.joints": joints[None],  # float32 [1, D]
                    "annotation.human.action.task_description": ["push the red cube to the green target"],
                }
            )
            for action in chunk["action.joints"]:  # [H, D]
                ...

    Not safe for several threads at once: give each its own.

    Args:
        host: Name or address of the server's machine.
        port: TCP port.
        api_token: What the server wants to see, see ``GR00T_API_TOKEN``.
        timeout_s: How long to wait for an answer [s].
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 5555, api_token: str | None = None, timeout_s: float = 15.0
    ) -> None:
        self._address = f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
        self._token, self._timeout_s = api_token, timeout_s
        self._context = zmq.Context()
        self._socket = self._connect()

    def get_action(self, observation: Mapping[str, np.ndarray | Sequence[str] | str]) -> dict[str, np.ndarray]:
        """Return the next actions.

        Args:
            observation: ``video.KEY`` uint8 [1, H, W, 3], ``state.KEY`` float32 [1, D] and an ``annotation.…`` with the
                instruction; for B robots [B, 1, H, W, 3], [B, 1, D] and one or B texts.

        Returns:
            ``action.KEY`` -> float32 [H, dim], or [B, H, dim] for several robots.

        Raises:
            ServerError: The server refused it.
            TimeoutError: No answer came.
        """
        return self._ask("get_action", dict(observation))

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        """Return steps and keys of "video", "state", "action" and "language". Raises as :meth:`get_action`."""
        return self._ask("get_modality_config")

    def ping(self) -> bool:
        """Return whether a server answers within the time. Raises ServerError where it wants another token."""
        try:
            return self._ask("ping").get("status") == "ok"
        except TimeoutError:
            return False

    def kill(self) -> None:
        """End the server. Raises as :meth:`get_action`."""
        self._ask("kill")

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _connect(self) -> zmq.Socket:
        socket = self._context.socket(zmq.REQ)
        milliseconds = int(self._timeout_s * 1000)
        for option, value in ((zmq.LINGER, 0), (zmq.SNDTIMEO, milliseconds), (zmq.RCVTIMEO, milliseconds)):
            socket.setsockopt(option, value)
        socket.setsockopt(zmq.IPV6, "[" in self._address)
        socket.connect(self._address)
        return socket

    def _ask(self, endpoint: str, data: Any = None) -> Any:
        request = {"endpoint": endpoint} | ({} if data is None else {"data": data})
        if self._token is not None:
            request["api_token"] = self._token
        try:
            self._socket.send(encode(request))
            answer = decode(self._socket.recv())
        except zmq.Again:
            self._socket.close()  # a request without an answer blocks its socket
            self._socket = self._connect()
            raise TimeoutError(
                f"no answer from {self._address} within {self._timeout_s:g} s; start gr00t-rl serve, or set a longer "
                "timeout_s"
            ) from None
        if isinstance(answer, dict) and "error" in answer:
            raise ServerError(answer["error"])
        return answer
