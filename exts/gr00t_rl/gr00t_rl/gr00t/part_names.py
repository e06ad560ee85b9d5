# SPDX-License-Identifier: BSD-3-Clause
"""Names of the parts of GR00T, and what LoRA adapts in them."""

from collections.abc import Mapping

PARTS = ("vision", "mlp1", "llm", "vlln", "vl_self_attention", "dit", "projectors")
"""In the order of a forward pass; ``mlp1`` takes the image encoder's outputs to the language model's width, and
``projectors`` are the encoders of state and action and the action decoder.
"""

_TRANSFORMER_OF_THE_HEAD = ("to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2")
LORA_OF_HEAD: Mapping[str, tuple[str, ...]] = {
    "vl_self_attention": _TRANSFORMER_OF_THE_HEAD,
    "dit": _TRANSFORMER_OF_THE_HEAD,
}
"""Part of the action head -> how the names of its linear layers end that LoRA adapts: attention and feed-forward of
every block. A backbone has the like, ``lora_targets``.
"""
LORA_PARTS = ("vision", "llm", *LORA_OF_HEAD)
"""The parts that LoRA can adapt."""


def is_adapter(name: str) -> bool:
    """Return whether a parameter's name in the network is that of an adapter's matrix."""
    return ".lora_A." in name or ".lora_B." in name
