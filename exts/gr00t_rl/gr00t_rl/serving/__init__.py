# SPDX-License-Identifier: BSD-3-Clause
"""A policy as a service: the wire protocol of NVIDIA's own inference services for GR00T, and a client of it.

``gr00t-rl serve`` is the command. :class:`PolicyClient` needs numpy, msgpack and pyzmq, and none of torch. Names are
loaded on first use (PEP 562).
"""

from typing import TYPE_CHECKING

from ..gr00t.lazy import lazy_names

if TYPE_CHECKING:
    from .client import PolicyClient, ServerError
    from .policy import ServedPolicy
    from .server import PolicyServer

__all__ = ["PolicyClient", "PolicyServer", "ServedPolicy", "ServerError"]

__getattr__ = lazy_names(
    __name__,
    {
        "PolicyClient": ("client", "PolicyClient"),
        "PolicyServer": ("server", "PolicyServer"),
        "ServedPolicy": ("policy", "ServedPolicy"),
        "ServerError": ("client", "ServerError"),
    },
)
