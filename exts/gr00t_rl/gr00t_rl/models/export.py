# SPDX-License-Identifier: BSD-3-Clause
"""The policy as one self-contained module, for TorchScript and ONNX."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from ..flow import FlowHead, VelocityFn
from ..gr00t.tokens import TracedPrompt


class _Ode(FlowHead):
    """A head without noise. The tracer reads all properties of the actor, the noise's standard deviation among them."""

    def std_summary(self) -> torch.Tensor:
        return torch.zeros(self.num_steps)


class ExportedPolicy(nn.Module):
    """One decision as a pure function of tensors, on the CPU in float32.

    Inputs, in this order: ``state`` float32 [1, S]; one uint8 image [1, H, W, 3] per camera, named after its
    observation group; ``noise`` float32 [1, H, A], the initial noise x_0 (zeros for a deterministic policy). The
    output ``actions`` [1, n_action_steps, A_env] is in the env's units. The K denoising steps are unrolled inside;
    the exploration noise is left out.

    Args:
        actor: A copy of the policy, a :class:`FlowActor`, which becomes part of the module and loses its noise. It has
            ``state_dim``, and ``velocity_of_state(state)`` unless the sub-class overrides :meth:`velocity`.
    """

    is_recurrent = False
    image_shapes: dict[str, tuple[int, ...]] = {}
    """Shape [H, W, 3] of each camera's image, by observation group."""

    def __init__(self, actor: nn.Module) -> None:
        super().__init__()
        self.actor: Any = actor.cpu().float()
        self.actor.head = _Ode(self.actor.head.num_steps)
        self.actor.requires_grad_(False).eval()

    def velocity(self, state: torch.Tensor, inputs: list[torch.Tensor]) -> VelocityFn:
        """Return the velocity field for ``state`` [1, S] and what lies between it and the noise."""
        return self.actor.velocity_of_state(state)

    def forward(self, state: torch.Tensor, *inputs: torch.Tensor) -> torch.Tensor:
        """Return the action chunk [1, n_action_steps, A]; see the class for the inputs."""
        *between, noise = inputs
        return self.actor.env_actions(self.actor.head.integrate(self.velocity(state, between), noise), state)

    def get_dummy_inputs(self) -> tuple[torch.Tensor, ...]:
        """Return example inputs for tracing."""
        images = [torch.zeros(1, *shape, dtype=torch.uint8) for shape in self.image_shapes.values()]
        return (torch.zeros(1, self.actor.state_dim), *images, torch.zeros(1, *self.actor.chunk_shape))

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs in ONNX."""
        return ["state", *self.image_shapes, "noise"]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs in ONNX."""
        return ["actions"]


class ExportedGr00tPolicy(ExportedPolicy):
    """:class:`ExportedPolicy` of a GR00T actor, with its backbone, statistics and the tokens of its prompts inside.

    With a modality, ``state`` is what :meth:`gr00t_rl.gr00t.Modality.select_state` returns, and ``actions`` are
    denormalised. A policy of several instructions has one more input after the state: ``instruction`` int64 [1, 1], its
    number.

    Args:
        actor: A copy of the policy, a :class:`Gr00tActor`, which becomes part of the module and loses its noise.
    """

    _prompt: torch.Tensor
    _order: torch.Tensor
    _causal_mask: torch.Tensor

    def __init__(self, actor: nn.Module) -> None:
        super().__init__(actor)
        self.actor.set_compute_dtype(torch.float32)
        self.actor.merge_adapters()
        self.actor.fix_prompts()
        self.image_shapes = dict(zip(self.actor.image_groups, self.actor.image_shapes, strict=True))
        if self.actor.image_groups:
            self._prepare_prompt()

    @torch.no_grad()
    def _prepare_prompt(self) -> None:
        """Turn what depends on the prompts alone into constants; tracers cannot follow the network's checks of it."""
        backbone, ids = self.actor.model.backbone, self.actor.processor.prompt(self._all_prompts()).input_ids
        length, is_image = ids.shape[1], backbone.is_image(ids[0])  # images stand first, alike in all prompts
        # a prompt's embeddings [1, T, D] stand before the image tokens [1, n, D]; row i of the input is row order[i]
        order = torch.where(is_image, length + is_image.long().cumsum(0) - 1, torch.arange(length))
        mask = torch.full((length, length), torch.finfo(torch.float32).min).triu(1)
        self.register_buffer("_prompt", backbone.embed(ids), persistent=False)
        self.register_buffer("_order", order, persistent=False)
        self.register_buffer("_causal_mask", mask[None, None], persistent=False)

    def _all_prompts(self) -> torch.Tensor:
        return torch.arange(self.actor.num_instructions)

    def _features(self, images: list[torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
        """Return the VL features [1, T, D] of one image [1, H, W, 3] per camera and the prompt ``rows`` [1]."""
        actor = self.actor
        traced = TracedPrompt(self._prompt[rows], self._order, self._causal_mask)
        prompt = dataclasses.replace(actor.processor.prompt(rows), traced=traced)
        features = actor.model.encode(actor.processor.images(images), prompt)
        return actor.model.action_head.process_features(features, actor.processor.token_mask(rows))

    def velocity(self, state: torch.Tensor, inputs: list[torch.Tensor]) -> VelocityFn:
        """Return the velocity field for ``state`` [1, S], the instruction's number if there are several, and images."""
        rows = torch.zeros(1, dtype=torch.long)
        if self.actor.num_instructions > 1:
            instruction, *inputs = inputs
            rows = instruction[:, 0]
        features = self._features(inputs, rows) if inputs else None
        return self.actor.velocity_of(self.actor.context(features, state, rows))

    def get_dummy_inputs(self) -> tuple[torch.Tensor, ...]:
        """Return example inputs for tracing."""
        state, *others = super().get_dummy_inputs()
        number = [torch.zeros(1, 1, dtype=torch.long)] if self.actor.num_instructions > 1 else []
        return (state, *number, *others)

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs in ONNX."""
        state, *others = super().input_names
        return [state, *(["instruction"] if self.actor.num_instructions > 1 else []), *others]
