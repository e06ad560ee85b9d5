# SPDX-License-Identifier: BSD-3-Clause
"""What the update of an algorithm needs, found by running its own loss and backward pass on tensors without memory."""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any, NamedTuple

import torch
from tensordict import TensorDict
from torch import nn

from ..utils.allocations import LiveBytes
from ..utils.fakes import fake


class StepBytes(NamedTuple):
    """What one optimiser step needs beside weights, moments and stored decisions, in bytes."""

    gradients: int
    activations: int
    """The most that is alive at one time besides, in one piece of the minibatch."""
    minibatch: int
    """The copy of the minibatch's decisions."""

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self)


def step_bytes(algorithm: Any, rows: TensorDict, minibatch: int, size: int) -> StepBytes:
    """Return what an optimiser step needs on a minibatch that is cut into pieces.

    Args:
        algorithm: One whose models are fakes, see :mod:`gr00t_rl.utils.fakes`.
        rows: Decisions as they are stored, [B] for any B: their shapes and types count.
        minibatch: Decisions of the minibatch.
        size: Decisions of a piece.
    """
    learned = list(algorithm.parameters())
    gradients = sum(p.nbytes for p in learned)
    # the gradient of a first piece grows while its activations go; that of later ones is there before
    for parameter in learned:
        parameter.grad = fake(parameter.shape, parameter.dtype) if size < minibatch else None
    piece = _rows_like(rows, min(size, minibatch))
    for name in ("advantage", "return", "value", "weight"):
        if name not in piece.keys():  # noqa: SIM118  # iterating a TensorDict goes over its rows
            piece[name] = fake((len(piece),))
    if getattr(algorithm, "reference", None) is not None:  # it adds the parameters of its own distributions
        piece["reference_0"], piece["reference_1"] = piece["mean"], piece["std"]
    with LiveBytes() as live:
        algorithm._loss(algorithm._loss_terms(piece)).sum().backward()
    for parameter in learned:
        parameter.grad = None
    there = 0 if size < minibatch else gradients
    return StepBytes(gradients, max(live.peak - there, 0), minibatch * row_bytes(rows))


def row_bytes(rows: TensorDict) -> int:
    """Return the bytes of one of the decisions ``rows`` [B]."""
    leaves: Any = rows.values(True, True)
    return sum(tensor.nbytes for tensor in leaves) // len(rows)


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Return what an optimiser keeps of its parameters, found by a step of a copy of it on a small parameter."""
    per_parameter: dict[tuple[int, torch.dtype], float] = {}
    total = 0.0
    for index, group in enumerate(optimizer.param_groups):
        for parameter in group["params"]:
            key = (index, parameter.dtype)
            if key not in per_parameter:
                per_parameter[key] = _bytes_per_number(optimizer, group, parameter.dtype)
            total += per_parameter[key] * parameter.numel()
    return int(total)


def _bytes_per_number(optimizer: torch.optim.Optimizer, group: dict[str, Any], dtype: torch.dtype) -> float:
    """Step a copy of the optimiser that holds a parameter of 64 x 64 numbers, and count what it keeps for each."""
    with torch.inference_mode(False), torch.enable_grad():
        parameter = nn.Parameter(torch.zeros(64, 64, dtype=dtype))
        parameter.grad = torch.zeros_like(parameter)
        probe = copy.copy(optimizer)
        probe.state, probe.param_groups = defaultdict(dict), [{**group, "params": [parameter]}]
        probe.step()
        kept = [value for value in probe.state[parameter].values() if isinstance(value, torch.Tensor)]
    return sum(_nbytes(value) for value in kept if value.numel() > 1) / parameter.numel()


def _nbytes(tensor: torch.Tensor) -> int:
    """Bytes of a tensor; of one that wraps others, as quantised ones do, theirs."""
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()  # pyright: ignore[reportAttributeAccessIssue]
        return sum(_nbytes(getattr(tensor, name)) for name in names)
    return tensor.nbytes


def _rows_like(rows: TensorDict, number: int) -> TensorDict:
    content = {name: fake((number, *rows[name].shape[1:]), rows[name].dtype) for name in rows.keys()}  # noqa: SIM118
    return TensorDict(content, [number])  # pyright: ignore[reportArgumentType]
