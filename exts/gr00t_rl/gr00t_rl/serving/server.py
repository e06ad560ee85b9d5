# SPDX-License-Identifier: BSD-3-Clause
"""The service: one request after another, each with one answer, until it is told to stop.

Requests are tables ``{"endpoint": name, "data": {...}, "api_token": text}`` over a ZeroMQ REP socket, as NVIDIA's
inference services take them. Whatever a request holds, it is answered, and the service goes on.
"""

from __future__ import annotations

import hmac
import ipaddress
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

import zmq

from ..utils.errors import ConfigurationError
from .observation import ObservationError
from .policy import ServedPolicy
from .wire import MAX_BYTES, WireError, decode, encode

HOST, PORT = "127.0.0.1", 5555
POLL_MS = 200
"""How long a stop may take while nobody asks anything [ms]."""
LINGER_MS = 1000
"""How long the last answer may take to leave [ms]."""
CUT_BYTES = 4 * MAX_BYTES
"""Length of a message at which the connection is cut unread; between MAX_BYTES and this it is answered [bytes]."""


def check_host(host: str, token: str | None) -> None:
    """Refuse to be reached from other machines without a token.

    Raises:
        ConfigurationError: The address is none, or is open to others and there is no token.
    """
    if host == "localhost":
        return
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ConfigurationError(
            f"--host is {host!r}; set the IP address of an interface, or 0.0.0.0 for all"
        ) from None
    if not address.is_loopback and not token:
        raise ConfigurationError(
            f"--host {host} lets other machines in, and there is no token; set the environment variable "
            "GR00T_API_TOKEN, which clients must send too"
        )


class PolicyServer:
    """Serves a policy.

    The port is bound when it is made. Messages are not encrypted, the token neither: on a network that is not trusted,
    go through a tunnel.

    Args:
        policy: What answers ``get_action``.
        host: IP address to be reached at.
        port: TCP port; 0: any free one, see :attr:`address`.
        api_token: What every request must carry; None: nothing, for this machine only.
        log: Where lines for people go.

    Raises:
        ConfigurationError: See :func:`check_host`; or the port is taken.
    """

    def __init__(
        self,
        policy: ServedPolicy,
        host: str = HOST,
        port: int = PORT,
        api_token: str | None = None,
        log: Callable[[str], None] = lambda line: print(line, flush=True),
    ) -> None:
        check_host(host, api_token)
        self.policy, self._token, self._log, self._stop = policy, api_token, log, threading.Event()
        self._endpoints: dict[str, Callable[[Any], Any]] = {
            "get_action": policy.get_action,
            "get_modality_config": lambda _: policy.modality_config(),
            "ping": lambda _: {"status": "ok", "message": "the server is running"},
            "reset": lambda _: {},  # no decision depends on an earlier one
            "kill": self._kill,
        }
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        self._socket.setsockopt(zmq.MAXMSGSIZE, CUT_BYTES)
        self._socket.setsockopt(zmq.IPV6, ":" in host)
        shown = "127.0.0.1" if host == "localhost" else f"[{host}]" if ":" in host else host
        try:
            self._socket.bind(f"tcp://{shown}:{port}")
        except zmq.ZMQError as error:
            self.close()
            raise ConfigurationError(f"--host {host} --port {port} cannot be bound ({error}); set another") from None

    @property
    def address(self) -> str:
        """Where it is reached, as ``tcp://127.0.0.1:5555``."""
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def run(self) -> None:
        """Answer until :meth:`stop`, ``kill``, SIGINT or SIGTERM; what was asked before that is answered."""
        previous = self._handle_signals()
        try:
            while not self._stop.is_set():
                if self._socket.poll(POLL_MS):
                    self._socket.send(self._answer_parts(self._socket.recv_multipart()))
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            self.close()

    def stop(self) -> None:
        """Let :meth:`run` end; from any thread."""
        self._stop.set()

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()
        self._context.term()

    def _answer_parts(self, parts: list[bytes]) -> bytes:
        """Return the answer to a message of ZeroMQ, all of whose parts have to be taken before it can be sent."""
        if len(parts) == 1:
            return self.answer(parts[0])
        return self._refuse(f"the message has {len(parts)} parts; send one")

    def answer(self, message: bytes) -> bytes:
        """Return the answer to a message, whatever it holds."""
        try:
            return encode(self._answer(decode(message)))
        except (WireError, ObservationError) as error:
            problem = str(error)
        except Exception as error:  # a fault of ours or of the device: the client is told, and the next may work
            traceback.print_exc(file=sys.stderr)
            problem = f"the server failed ({type(error).__name__}: {str(error)[:200]}); its log says more"
        return self._refuse(problem)

    def _refuse(self, problem: str) -> bytes:
        self._log(f"refused: {problem}")
        return encode({"error": problem})

    def _answer(self, request: Any) -> Any:
        if not isinstance(request, dict):
            raise WireError(f"the message is a {type(request).__name__}; send a table with endpoint and data")
        if self._token is not None:
            given = request.get("api_token")
            known = isinstance(given, str) and hmac.compare_digest(given.encode(), self._token.encode())
            if not known:
                raise WireError("Unauthorized: Invalid API token")
        name = request.get("endpoint", "get_action")
        endpoint = self._endpoints.get(name) if isinstance(name, str) else None
        if endpoint is None:
            raise WireError(f"Unknown endpoint: {str(name)[:80]}; there are {', '.join(self._endpoints)}")
        return endpoint(request.get("data"))

    def _kill(self, _: Any) -> dict[str, str]:
        self._log("asked to end by a client")
        self.stop()
        return {"status": "ok", "message": "the server ends"}

    def _handle_signals(self) -> dict[int, Any]:
        """Let SIGINT and SIGTERM end :meth:`run`; a second one ends the process at once."""
        if threading.current_thread() is not threading.main_thread():
            return {}
        previous: dict[int, Any] = {}

        def leave(number: int, _: FrameType | None) -> None:
            self.stop()
            signal.signal(number, signal.SIG_DFL)

        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, leave)
        return previous
