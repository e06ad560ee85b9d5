# SPDX-License-Identifier: BSD-3-Clause
"""LoRA adapters (Hu et al., arXiv 2106.09685) in the network, by peft: put in, and merged into the weights again."""

from __future__ import annotations

from collections.abc import Collection

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from .network import Gr00tNetwork
from .parts import lora_layers


def add_adapters(model: Gr00tNetwork, parts: Collection[str], rank: int, alpha: float) -> None:
    """Put adapters into the attention and feed-forward layers of ``parts``; their product is 0 at first.

    The adapters are float32, whatever the type of the frozen weights. Every layer that
    :func:`~gr00t_rl.gr00t.parts.lora_layers` names is adapted, and no other.

    Args:
        model: The network; changed in place.
        parts: Names of parts, see :mod:`~gr00t_rl.gr00t.part_names`.
        rank: Rank r of the update B A of each weight.
        alpha: The update is scaled by alpha / r.

    Raises:
        RuntimeError: A layer that should be adapted is not there, or was not adapted.
    """
    names = [name for part in parts for name in lora_layers(model, part)]
    if not names:
        return
    settings = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=names)  # pyright: ignore
    inject_adapter_in_model(settings, model)
    adapted = {name: layer for name, layer in model.named_modules() if isinstance(layer, LoraLayer)}
    if adapted.keys() != set(names):
        odd = sorted(adapted.keys() ^ set(names))
        raise RuntimeError(f"peft adapted other layers than asked for, see {', '.join(odd[:3])}")
    for layer in adapted.values():
        layer.lora_A.float()
        layer.lora_B.float()
        # autocast casts inputs to its own type in any case: without peft's copy in float32 the same numbers come out,
        # and a backward pass keeps half as much
        layer.cast_input_dtype_enabled = False


@torch.no_grad()
def merge_adapters(model: nn.Module) -> None:
    """Add every adapter's product to the weight that it adapts and put the plain layer back in its place.

    The sum is taken and left in float32: round afterwards, once.
    """
    adapted = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, BaseTunerLayer)]
    for name, layer in adapted:
        layer.get_base_layer().float()
        layer.merge()  # pyright: ignore[reportAttributeAccessIssue]
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.get_base_layer())
    if adapted and hasattr(model, "peft_config"):
        del model.peft_config
