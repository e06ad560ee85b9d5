# SPDX-License-Identifier: BSD-3-Clause
"""Lets Isaac Lab 3.0.0's standalone PhysX (``physics=ovphysx``) start on machines without CUDA.

``isaaclab_ov`` 3.0.0 asks Warp for page-locked ("pinned") host memory whatever the machine. Only the CUDA driver can
give that: without one Warp fails with ``Failed to allocate … bytes on device 'cpu'``. Pinned memory is nothing but a
faster place to copy from to a GPU, so without a GPU ordinary memory does the same.

Remove this module, and its call in ``physics.py``, once ``isaaclab_ov`` asks for pinned memory only beside CUDA.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable

import torch
import warp as wp

_ALLOCATORS = ("empty", "zeros")


def allow_ovphysx_without_cuda() -> None:
    """Make Warp ignore ``pinned=True``, if this machine has ovphysx and no CUDA. Calling it again does nothing."""
    if importlib.util.find_spec("ovphysx") is None or torch.cuda.is_available():
        return
    for name in _ALLOCATORS:
        allocate = getattr(wp, name)
        if not hasattr(allocate, "__wrapped__"):
            setattr(wp, name, _unpinned(allocate))


def _unpinned(allocate: Callable) -> Callable:
    """``allocate`` without its wish for pinned memory."""

    @functools.wraps(allocate)
    def unpinned(*args, **kwargs):
        if kwargs.get("pinned"):
            kwargs["pinned"] = False
        return allocate(*args, **kwargs)

    return unpinned
