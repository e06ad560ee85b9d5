# SPDX-License-Identifier: BSD-3-Clause
"""Names of the parts of GR00T N1.5, and what LoRA adapts in them."""

from collections.abc import Mapping

PARTS = ("vision", "mlp1", "llm", "vlln", "vl_self_attention", "dit", "projectors")
"""In the order of a forward pass; ``projectors`` are the encoders of state and action and the action decoder."""

_TRANSFORMER_OF_THE_HEAD = ("to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2")
LORA_TARGETS: Mapping[str, tuple[str, ...]] = {
    "vision": ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
    "llm": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    "vl_self_attention": _TRANSFORMER_OF_THE_HEAD,
    "dit": _TRANSFORMER_OF_THE_HEAD,
}
"""Part -> how the names of its linear layers end that LoRA adapts: attention and feed-forward of every block."""


def is_adapter(name: str) -> bool:
    """Return whether a parameter's name in the network is that of an adapter's matrix."""
    return ".lora_A." in name or ".lora_B." in name
