# SPDX-License-Identifier: BSD-3-Clause
"""The policy as one self-contained module, for TorchScript and ONNX."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from .gr00t_actor import Gr00tActor


class ExportedPolicy(nn.Module):
    """One decision as a pure function of tensors, on the CPU in float32.

    Inputs, in this order: ``state`` float32 [1, S]; one uint8 image [1, H, W, 3] per camera, named after its
    observation group; ``noise`` float32 [1, H, A], the initial noise x_0 (zeros for a deterministic policy). The
    output ``actions`` [1, n_action_steps, A_env] is in the env's units. The K denoising steps are unrolled inside.

    Args:
        actor: The policy; its weights are copied.
    """

    is_recurrent = False

    def __init__(self, actor: Gr00tActor) -> None:
        super().__init__()
        queue, actor._queue = actor._queue, None
        self.actor = copy.deepcopy(actor).cpu().float()
        actor._queue = queue
        self.actor._compute_dtype = torch.float32
        self.actor.requires_grad_(False).eval()

    def forward(self, state: torch.Tensor, *inputs: torch.Tensor) -> torch.Tensor:
        """Return the action chunk [1, n_action_steps, A]; see the class for the inputs."""
        actor, (*images, noise) = self.actor, inputs
        head = actor.model.action_head
        if images:
            pixels = actor.processor.images(images)
            features = head.process_features(actor.model.encode(pixels, actor._input_ids, actor._attention_mask))
        else:
            features = actor._prompt_features
        if actor.state_normalizer is not None:
            state = actor.state_normalizer(state).clamp(-10.0, 10.0)
        context = head.prepare(features, actor.processor.state(state))
        return actor._env_actions(actor.head.integrate(actor._velocity(context), noise))

    def get_dummy_inputs(self) -> tuple[torch.Tensor, ...]:
        """Return example inputs for tracing."""
        actor = self.actor
        images = [torch.zeros(1, *shape, dtype=torch.uint8) for shape in actor.image_shapes]
        return (torch.zeros(1, actor.state_dim), *images, torch.zeros(1, *actor._chunk_shape))

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs in ONNX."""
        return ["state", *self.actor.image_groups, "noise"]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs in ONNX."""
        return ["actions"]
