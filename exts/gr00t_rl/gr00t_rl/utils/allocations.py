# SPDX-License-Identifier: BSD-3-Clause
"""How much memory tensors take while a block of code runs, on any device."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary


class LiveBytes(TorchDispatchMode):
    """Adds up the bytes of tensors made inside a ``with`` block, for as long as they live.

    Python's own tools do not see tensors, and the size of a process says little about a few MiB. Memory that a kernel
    needs for itself is not seen either.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        """Bytes of tensors that were made in the block and are alive."""
        self.peak = 0
        """Largest value of :attr:`now` since the start, or since it was last set."""
        self._known = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and look at what it returned."""
        for tensor in _tensors((args, kwargs)):
            self._known.setdefault(tensor.untyped_storage(), True)  # made before the block
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            if storage not in self._known:
                self._known[storage] = True
                size = storage.nbytes()
                self.now += size
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._free, size)
        return result

    def _free(self, size: int) -> None:
        self.now -= size


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
