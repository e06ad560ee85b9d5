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
        if self.actor.image_groups:
            self._prepare_prompt()

    @torch.no_grad()
    def _prepare_prompt(self) -> None:
        """Turn what depends on the prompt alone into constants; tracers cannot follow the network's checks of it."""
        eagle, ids = self.actor.model.backbone.eagle_model, self.actor._input_ids
        length, is_image = ids.shape[1], ids[0] == eagle.image_token_index
        # the prompt's embeddings [1, T, D] stand before the image tokens [1, n, D]; row i of the input is row order[i]
        order = torch.where(is_image, length + is_image.long().cumsum(0) - 1, torch.arange(length))
        mask = torch.full((length, length), torch.finfo(torch.float32).min).triu(1)
        self.register_buffer("_prompt", eagle.language_model.model.embed_tokens(ids), persistent=False)
        self.register_buffer("_order", order, persistent=False)
        self.register_buffer("_causal_mask", mask[None, None], persistent=False)

    def _features(self, images: list[torch.Tensor]) -> torch.Tensor:
        """Return the VL features [1, T, D] of one image [1, H, W, 3] per camera."""
        actor = self.actor
        eagle = actor.model.backbone.eagle_model
        tokens = eagle.image_tokens(actor.processor.images(images)).flatten(0, 1)[None]
        embeds = torch.cat((self._prompt, tokens), dim=1).index_select(1, self._order)
        features = eagle.language_model.model(inputs_embeds=embeds, attention_mask=self._causal_mask).last_hidden_state
        return actor.model.action_head.process_features(features)

    def forward(self, state: torch.Tensor, *inputs: torch.Tensor) -> torch.Tensor:
        """Return the action chunk [1, n_action_steps, A]; see the class for the inputs."""
        actor, (*images, noise) = self.actor, inputs
        features = self._features(images) if images else actor._prompt_features
        if actor.state_normalizer is not None:
            state = actor.state_normalizer(state).clamp(-10.0, 10.0)
        context = actor.model.action_head.prepare(features, actor.processor.state(state))
        return actor.env_actions(actor.head.integrate(actor.velocity_of(context), noise))

    def get_dummy_inputs(self) -> tuple[torch.Tensor, ...]:
        """Return example inputs for tracing."""
        actor = self.actor
        images = [torch.zeros(1, *shape, dtype=torch.uint8) for shape in actor.image_shapes]
        return (torch.zeros(1, actor.state_dim), *images, torch.zeros(1, *actor.chunk_shape))

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs in ONNX."""
        return ["state", *self.actor.image_groups, "noise"]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs in ONNX."""
        return ["actions"]
