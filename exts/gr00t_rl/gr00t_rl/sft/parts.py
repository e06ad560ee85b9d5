# SPDX-License-Identifier: BSD-3-Clause
"""Which parts of GR00T are trained."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..gr00t import Gr00tNetwork
from ..gr00t.parts import part_modules


@dataclass(frozen=True)
class Tuned:
    """Parts of the network that are trained; names as in NVIDIA's fine-tuning script."""

    visual: bool = False
    """The image encoder and its projection."""
    llm: bool = False
    """The language model."""
    projector: bool = True
    """Encoders of state and action, decoder of actions, positions."""
    diffusion_model: bool = True
    """The DiT."""
    vl_self_attention: bool = True
    """The features' self-attention, with any part of the head."""

    @property
    def backbone(self) -> bool:
        """Whether features change during training."""
        return self.visual or self.llm


def set_trainable(model: Gr00tNetwork, tuned: Tuned) -> list[nn.Parameter]:
    """Freeze all but the tuned parts, put only those into train mode, and return their parameters.

    As in the release, the future tokens are trained with any part of the head, and so is the features' self-attention
    unless it is to stay.
    """
    model.requires_grad_(False).eval()
    of, head = part_modules(model), model.action_head
    parts: list[nn.Module] = []
    if tuned.visual:
        parts += [*of["vision"], *of["mlp1"]]
    if tuned.llm:
        parts += of["llm"]
    if tuned.projector:
        parts += of["projectors"]
    if tuned.diffusion_model:
        parts.append(head.model)
    if tuned.projector or tuned.diffusion_model:
        parts += [part for part in of["dit"] if part is not head.model]
        parts += (*of["vlln"], *of["vl_self_attention"]) if tuned.vl_self_attention else ()
    for part in parts:
        part.requires_grad_(True).train()
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def renew_head(model: Gr00tNetwork, seed: int) -> None:
    """Give the network a new projector and diffusion model; what makes the features stays."""
    new, head = type(model).from_config(model.config, seed=seed).action_head, model.action_head
    for name, part in new.named_children():
        if name not in ("vlln", "vl_self_attention"):
            setattr(head, name, part)
