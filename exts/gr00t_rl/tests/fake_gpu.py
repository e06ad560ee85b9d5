# SPDX-License-Identifier: BSD-3-Clause
"""A GPU without one: fake CUDA tensors, which have shape, type and device but no numbers, and who reads them.

Under torch's ``FakeTensorMode`` an operation on tensors of two devices fails as it would on a GPU. What has no answer
without numbers (``.item()``, ``if tensor:``, ``nonzero``, ``tolist``, a copy between host and device) is where a GPU
makes the host wait: :class:`HostSyncs` answers such a read from a table of the places where one is allowed, counts it,
and fails everywhere else.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

import gr00t_rl

CUDA = torch.device("cuda:0")
ROOT = Path(gr00t_rl.__file__).parent
_TAGS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


class HostSync(AssertionError):
    """The host waits for the device where it should not."""


class HostSyncs(TorchDispatchMode):
    """Counts the reads of fake tensors by place, and answers them.

    A place is ``folder/file.py:function`` of the package, the innermost one under way; reads that the test itself
    makes are ``test``. Operations that are no reads but copy between host and device are counted as ``place:copy``.

    Args:
        answers: What a read gives, by place: a number, or of ``nonzero`` and masks "all" or "none" of the elements.
    """

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__()
        self.answers = dict(answers)
        self.counts: Counter[str] = Counter()

    def take(self) -> dict[str, int]:
        """Return the counts since the last call."""
        counts, self.counts = dict(self.counts), Counter()
        return counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answer reads and count copies; everything else is the fake tensors' business."""
        kwargs = kwargs or {}
        if _is_composite(func):
            with self:  # in inference mode operations come whole, with the read inside
                return func.decompose(*args, **kwargs)
        if func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            self._count_copy(func, args, kwargs)
            return func(*args, **kwargs)
        if func is torch.ops.aten.index.Tensor or func is torch.ops.aten.index_put_.default:
            masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
            if not masks:
                return func(*args, **kwargs)
            args = (args[0], [self._ids(i) if i is not None else None for i in args[1]], *args[2:])
            return func(*args, **kwargs)
        if not any(tag in func.tags for tag in _TAGS):
            return func(*args, **kwargs)
        if not _on_gpu(args):  # nobody waits for the host's own numbers, but they are fake too
            return 1 if func is torch.ops.aten._local_scalar_dense.default else func(*args, **kwargs)
        answer = self.answer(str(func))
        if func is torch.ops.aten._local_scalar_dense.default:
            return answer
        if func is torch.ops.aten.nonzero.default:
            return self._nonzero(args[0], answer)
        raise HostSync(f"{place()} calls {func}, which waits for the device")

    def answer(self, what: str) -> Any:
        """Count a read, and return what it gives."""
        where = place()
        self.counts[where] += 1
        if where not in self.answers:
            raise HostSync(f"{where} makes the host wait for the device ({what})")
        return self.answers[where]

    def _count_copy(self, func: Any, args: Any, kwargs: Any) -> None:
        target = args[0] if func is torch.ops.aten.copy_.default else None
        source = args[1] if target is not None else args[0]
        device = target.device if target is not None else kwargs.get("device") or source.device
        waits = device.type != source.device.type and not (kwargs.get("non_blocking") or args[2:3] == (True,))
        if waits:
            where = f"{place()}:copy"
            self.counts[where] += 1
            if where not in self.answers:
                raise HostSync(f"{where} copies {source.device} to {device}, for which the host waits")

    def _ids(self, index: torch.Tensor) -> torch.Tensor:
        if index.dtype != torch.bool or index.device.type != "cuda":
            return index
        return self._nonzero(index, self.answer("a mask as an index")).squeeze(-1)

    @staticmethod
    def _nonzero(x: torch.Tensor, answer: str) -> torch.Tensor:
        number = {"all": x.numel(), "none": 0}[answer]
        return torch.zeros(number, x.dim(), dtype=torch.long, device=x.device)


@cache
def _is_composite(func: Any) -> bool:
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return func.namespace == "aten" and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key)


def _nested(shape: Any, value: Any) -> Any:
    return [_nested(shape[1:], value) for _ in range(shape[0])] if len(shape) else value


def _on_gpu(args: Any) -> bool:
    return any(isinstance(a, torch.Tensor) and a.device.type == "cuda" for a in args)


def place() -> str:
    """Return the innermost function of the package that is under way."""
    frame = sys._getframe(1)
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(ROOT):
            return f"{file.relative_to(ROOT)}:{frame.f_code.co_name}"
        frame = frame.f_back
    return "test"


@contextmanager
def fake_gpu(answers: Mapping[str, Any]) -> Iterator[HostSyncs]:
    """Let tensors be fake inside the block, and count the reads of those on the GPU.

    bfloat16 autocast is what it would be on a GPU, and what asks for the real one is told that it holds nothing. The
    autograd engine wants a real one: ``backward`` gives a gradient to every leaf that it would reach, and runs nothing.
    """
    with (
        mock.patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False),
        mock.patch("torch.cuda.is_bf16_supported", lambda *a, **k: True),
        mock.patch("torch.cuda.synchronize", lambda *a: syncs.answer("torch.cuda.synchronize")),
        mock.patch("torch.cuda.current_device", lambda: 0),
        mock.patch("torch.random.fork_rng", lambda *a, **k: nullcontext()),  # a fake device has no generator
        mock.patch("torch.cuda.max_memory_allocated", lambda *a: 0),
        mock.patch.object(FakeTensor, "tolist", lambda x: _nested(x.shape, syncs.answer("tolist"))),
        mock.patch("torch.Tensor.backward", _backward),
        mock.patch("torch.nn.Module.to", _to),
        FakeTensorMode(allow_non_fake_inputs=False) as mode,
        HostSyncs(answers) as syncs,
    ):
        syncs.fake_mode = mode  # type: ignore[attr-defined]
        yield syncs


_MODULE_TO = torch.nn.Module.to


def _to(module: torch.nn.Module, *args: Any, **kwargs: Any) -> torch.nn.Module:
    # one that is there already stays as it is: fake parameters cannot be put in their own place
    tensors = (*module.parameters(), *module.buffers())
    there = len(args) == 1 and not kwargs and isinstance(args[0], str | torch.device)
    if there and tensors and all(t.device.type == torch.device(args[0]).type for t in tensors):
        return module
    return _MODULE_TO(module, *args, **kwargs)


def _backward(loss: torch.Tensor) -> None:
    assert loss.device.type == "cuda" and loss.numel() == 1 and loss.requires_grad
    seen, nodes = set(), [loss.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [parent for parent, _ in node.next_functions]
        leaf = getattr(node, "variable", None)
        if leaf is not None and leaf.grad is None:
            leaf.grad = torch.zeros_like(leaf)


def to_fake_gpu(module: torch.nn.Module, syncs: Any) -> torch.nn.Module:
    """Put fake CUDA tensors in the place of a module's parameters and buffers, and return it."""
    mode: FakeTensorMode = syncs.fake_mode
    fakes: dict[int, torch.Tensor] = {}

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in fakes:
            data = FakeTensor(mode, torch.empty_like(tensor, device="meta"), CUDA)
            fakes[id(tensor)] = (
                torch.nn.Parameter(data, tensor.requires_grad) if isinstance(tensor, torch.nn.Parameter) else data
            )
        return fakes[id(tensor)]

    with _disable_current_modes():
        for owner in module.modules():
            tables: tuple[Any, ...] = (owner._parameters, owner._buffers)
            for table in tables:
                for name, tensor in table.items():
                    if tensor is not None:
                        table[name] = fake(tensor)
        parts: dict[str, list[Any]] = getattr(module, "trained_parts", {})
        for part, parameters in parts.items():
            parts[part] = [fake(parameter) for parameter in parameters]
    return module
