# SPDX-License-Identifier: BSD-3-Clause
"""Tensors without memory: shape, type and device, but no numbers. Code that runs on them shows what it would need.

torch's ``FakeTensor`` runs through the same operations as a real one, autograd and autocast included. Here all of them
say that they are on the CPU, so that they mix with small real tensors. What is small and read by the host (prompts,
counts) stays real; what touches a fake becomes one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

CPU = torch.device("cpu")


@functools.cache
def _mode() -> FakeTensorMode:
    return FakeTensorMode(allow_non_fake_inputs=True)


def is_fake(tensor: torch.Tensor) -> bool:
    """Whether a tensor has no memory."""
    return isinstance(tensor, FakeTensor)


def fake(shape: Iterable[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return a tensor without memory."""
    return FakeTensor(_mode(), torch.empty(*shape, dtype=dtype, device="meta"), CPU)


def fake_like(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor without memory of the same shape and type; a parameter of a parameter."""
    made = fake(tensor.shape, tensor.dtype)
    return nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made


def make_fake(*modules: nn.Module) -> Callable[[], None]:
    """Put tensors without memory in the place of the modules' parameters and buffers.

    Returns:
        Puts the old ones back.
    """
    places: list[tuple[dict[str, Any], str, torch.Tensor]] = []
    made: dict[int, torch.Tensor] = {}
    for owner in {m: None for module in modules for m in module.modules()}:
        tables: tuple[Any, ...] = (owner._parameters, owner._buffers)
        for table in tables:
            for name, tensor in table.items():
                # prompts and numbers of steps are read by the host
                if tensor is not None and (table is owner._parameters or tensor.is_floating_point()):
                    places.append((table, name, tensor))
                    table[name] = made.setdefault(id(tensor), fake_like(tensor))

    def restore() -> None:
        for table, name, tensor in places:
            table[name] = tensor

    return restore


@contextmanager
def fake_modules() -> Iterator[None]:
    """Let modules with parameters without memory be cast and moved inside the block, which torch refuses."""
    real = nn.Module._apply

    def apply(module: nn.Module, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> nn.Module:
        own = [*module._parameters.values(), *module._buffers.values()]
        if recurse:
            for child in module.children():
                child._apply(fn)
        if not any(tensor is not None and is_fake(tensor) for tensor in own):
            return real(module, fn, recurse=False)
        with torch.no_grad():
            for parameter in filter(None.__ne__, module._parameters.values()):
                parameter.data = fn(parameter.data)  # type: ignore[union-attr]
            for name, buffer in module._buffers.items():
                module._buffers[name] = None if buffer is None else fn(buffer)
        return module

    with mock.patch.object(nn.Module, "_apply", apply):
        yield
