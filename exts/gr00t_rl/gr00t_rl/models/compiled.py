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
        mode: "off", or a mode of ``torch.compile``: "default", or "reduce-overhead", which on CUDA replays graphs.
    """
    if mode == "off":
        return ActionHead.velocity
    compiled = torch.compile(ActionHead.velocity, mode=None if mode == "default" else mode, dynamic=True)

    def velocity(head: ActionHead, x: Tensor, timestep_bucket: Tensor, ctx: HeadContext) -> Tensor:
        if len(x) == 1:  # it would be compiled once more, for the first time that a single env decides
            return ActionHead.velocity(head, x, timestep_bucket, ctx)
        v = compiled(head, x, timestep_bucket, ctx)
        # the next replay of a CUDA graph writes where this one's output lies
        return v.clone() if mode == "reduce-overhead" else v

    return velocity
