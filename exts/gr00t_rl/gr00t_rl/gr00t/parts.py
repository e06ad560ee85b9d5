# SPDX-License-Identifier: BSD-3-Clause
"""The parts of GR00T that are trained, or not: their modules, and the layers that LoRA adapts in them."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from .network import Gr00tNetwork
from .part_names import LORA_OF_HEAD


def part_modules(model: Gr00tNetwork) -> dict[str, tuple[nn.Module, ...]]:
    """Return the modules of each part, see ``part_names.py``. What the network holds but does not use is in none."""
    head = model.action_head
    future = () if head.future_tokens is None else (head.future_tokens,)
    return {
        **model.backbone.part_modules(),
        "vlln": (head.vlln,),
        "vl_self_attention": (head.vl_self_attention,),
        "dit": (head.model, *future),
        "projectors": (head.state_encoder, head.action_encoder, head.action_decoder, head.position_embedding),
    }


def part_parameters(model: Gr00tNetwork) -> dict[str, dict[str, nn.Parameter]]:
    """Return the parameters of each part by their names in ``model``."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        part: {names[p]: p for module in modules for p in module.parameters()}
        for part, modules in part_modules(model).items()
    }


def lora_layers(model: Gr00tNetwork, part: str) -> dict[str, nn.Linear]:
    """Return the linear layers that LoRA adapts in ``part``, by their names in ``model``.

    Raises:
        KeyError: LoRA adapts nothing in this part.
        RuntimeError: A target is missing in a block of the part: the network's names are others than expected.
    """
    targets = {**model.backbone.lora_targets, **LORA_OF_HEAD}[part]
    names = {module: name for name, module in model.named_modules()}
    blocks = [block for module in part_modules(model)[part] for block in _blocks(module)]
    found: dict[str, nn.Linear] = {}
    for block in blocks:
        for target in targets:
            layers = [m for n, m in block.named_modules() if n.endswith(f".{target}") and isinstance(m, nn.Linear)]
            if len(layers) != 1:
                raise RuntimeError(f"{names[block]} has {len(layers)} linear layers {target!r}, where LoRA expects one")
            found[names[layers[0]]] = layers[0]
    if not blocks:
        raise RuntimeError(f"LoRA finds no transformer block in the part {part!r}")
    return found


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Iterate over the transformer blocks of a part: the members of its lists of several equal layers."""
    for child in module.modules():
        if isinstance(child, nn.ModuleList) and len({type(entry) for entry in child}) == 1 and _is_block(child[0]):
            yield from child


def _is_block(module: nn.Module) -> bool:
    return any(name in ("attn", "attn1", "self_attn") for name, _ in module.named_children())
