# SPDX-License-Identifier: BSD-3-Clause
"""The action head's velocity, in PyTorch's own kernels or compiled to others."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..gr00t.action_head import ActionHead, HeadContext

HeadVelocity = Callable[[ActionHead, Tensor, Tensor, HeadContext], Tensor]
"""What :meth:`~gr00t_rl.gr00t.action_head.ActionHead.velocity` is, with the head as the first argument."""


def head_velocity(mode: str) -> HeadVelocity:
    """Return the velocity of an action head.

    A function is compiled, not a module: names in state dicts stay, and a copy of an actor computes with its own
    weights. The number of samples is a variable of the compiled code, since another number of envs decides each time;
    one alone is computed by PyTorch's own kernels.

    Args:
        mode: "off", or "default" of ``torch.compile``. Not its "reduce-overhead": CUDA graphs overwrite the gradients
            that earlier micro-batches left, and are recorded anew for every number of envs that decide.
    """
    if mode == "off":
        return ActionHead.velocity
    compiled = torch.compile(ActionHead.velocity, dynamic=True)

    def velocity(head: ActionHead, x: Tensor, timestep_bucket: Tensor, ctx: HeadContext) -> Tensor:
        if len(x) == 1:  # it would be compiled once more, for the first time that a single env decides
            return ActionHead.velocity(head, x, timestep_bucket, ctx)
        return compiled(head, x, timestep_bucket, ctx)

    return velocity
