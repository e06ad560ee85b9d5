# SPDX-License-Identifier: BSD-3-Clause
"""Sizes of the action head, which all generations share; the defaults are N1.5's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ActionHeadConfig:
    """Flow-matching action head: embodiment encoders, vision-language self-attention, DiT."""

    hidden_size: int = 1024
    """Width of the embodiment MLPs and of the DiT's output."""
    input_embedding_dim: int = 1536
    """Width w of the DiT (= ``dit_heads`` x ``dit_head_dim``)."""
    backbone_embedding_dim: int = 2048
    """Width D of the vision-language features."""
    action_dim: int = 32
    action_horizon: int = 16
    max_state_dim: int = 64
    max_num_embodiments: int = 32
    num_target_vision_tokens: int = 32
    """Learned tokens between state and actions (N1.5's future tokens); 0 for none."""
    max_seq_len: int = 1024
    num_inference_timesteps: int = 4
    num_timestep_buckets: int = 1000
    noise_beta_alpha: float = 1.5
    noise_beta_beta: float = 1.0
    noise_s: float = 0.999
    time_from_zero: bool = False
    """How training times follow from draws of the Beta distribution, see :func:`gr00t_rl.flow.time_of`."""
    state_history_length: int = 1
    """States that the state encoder takes at once, flattened."""
    attend_text_every_n_blocks: int = 0
    """Every n-th of the blocks that attend to the features sees the text's, the others the images'; 0: all see all."""
    dit_layers: int = 16
    """Even blocks attend to the features, odd blocks to the tokens themselves."""
    dit_heads: int = 32
    dit_head_dim: int = 48
    dit_dropout: float = 0.2
    vl_layers: int = 4
    vl_heads: int = 32
    vl_head_dim: int = 64
    vl_dropout: float = 0.2

    @property
    def cross_blocks(self) -> int:
        """Number of blocks that attend to the features."""
        return (self.dit_layers + 1) // 2

    def sees_text(self, cross_block: int) -> bool | None:
        """Whether the ``cross_block``-th block that attends to the features sees the text's; None: it sees all."""
        every = self.attend_text_every_n_blocks
        return None if every == 0 else cross_block % every == 0

    def check(self, text_hidden_size: int) -> None:
        """Make sure that the sizes belong to one network.

        Args:
            text_hidden_size: Width of the language model.

        Raises:
            ValueError: They do not.
        """
        widths = {
            "DiT heads x head_dim": (
                self.dit_heads * self.dit_head_dim,
                "input_embedding_dim",
                self.input_embedding_dim,
            ),
            "vl_self_attention heads x head_dim": (self.vl_heads * self.vl_head_dim, "hidden_size", text_hidden_size),
            "backbone_embedding_dim": (self.backbone_embedding_dim, "hidden_size of the text model", text_hidden_size),
        }
        for name, (found, other, expected) in widths.items():
            if found != expected:
                raise ValueError(f"{name} is {found} but {other} is {expected}: make them equal")
        if self.action_horizon > self.max_seq_len:
            raise ValueError(
                f"action_horizon {self.action_horizon} is longer than max_seq_len {self.max_seq_len}: set at most that"
            )


TRANSFORMER_KEYS = {
    "layers": "num_layers",
    "heads": "num_attention_heads",
    "head_dim": "attention_head_dim",
    "dropout": "dropout",
}
"""Our field, without its prefix "dit" or "vl" -> its name in ``diffusion_model_cfg`` and ``vl_self_attention_cfg``."""
