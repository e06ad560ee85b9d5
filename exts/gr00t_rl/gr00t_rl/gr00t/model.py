# SPDX-License-Identifier: BSD-3-Clause
"""GR00T N1.5: vision-language backbone and flow-matching action head.

Written from the published facts of NVIDIA's Isaac-GR00T N1.5 release; see ``checkpoint.py`` for its files on disk.
The model is handed out in ``eval()`` and has to stay there, in rollout and update: the head's dropout would make the
log-probability of one action differ between two calls.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

from . import checkpoint
from .action_head import ActionHead
from .attention import check_attn_implementation
from .backbone import Backbone, EagleModel
from .config import Gr00tN1d5Config
from .embodiment import CategorySpecificLinear


@contextlib.contextmanager
def _parts_in(dtype: torch.dtype) -> Iterator[None]:
    """Cast the large parts of a network to ``dtype`` as soon as each is complete."""

    def cast(parent: nn.Module, _: str, part: nn.Module | None) -> None:
        # embeddings and norms are drawn again by their parent, and are small
        if isinstance(parent, (EagleModel, ActionHead)) and part is not None and list(part.children()):
            part.to(dtype)

    hook = register_module_module_registration_hook(cast)
    try:
        yield
    finally:
        hook.remove()


class Gr00tN1d5(nn.Module):
    """The whole network. Build it with :meth:`from_pretrained` or :meth:`from_config`.

    Attributes:
        config: sizes.
        backbone: images and prompt -> features [B, T, D].
        action_head: features, state and noisy actions -> velocity.
        assets: file name -> content of what is saved beside the weights (statistics, tokenizer).
    """

    def __init__(self, config: Gr00tN1d5Config, attn_implementation: str = "sdpa"):
        super().__init__()
        check_attn_implementation(attn_implementation)
        self.config = config
        self.backbone = Backbone(config, attn_implementation)
        self.action_head = ActionHead(config.action_head, attn_implementation)
        self.assets: dict[str, bytes] = {}

    @classmethod
    def from_pretrained(
        cls,
        path_or_hub_id: str | os.PathLike[str],
        dtype: torch.dtype | None = torch.bfloat16,
        device: str | torch.device = "cpu",
        attn_implementation: str = "sdpa",
    ) -> Self:
        """Load a checkpoint in the official layout, in ``eval()``.

        Args:
            path_or_hub_id: a folder, which never touches the network, or a hub id ``org/name``.
            dtype: type of the weights in memory, whatever their type on disk; None: as on disk.
            device: where to put them.
            attn_implementation: ``sdpa``, ``eager``, or ``flash_attention_2`` with the extra installed.

        Raises:
            CheckpointError: anything wrong with the checkpoint, in one line.
            ValueError, ImportError: an attention implementation that cannot run here.
        """
        check_attn_implementation(attn_implementation)
        folder = checkpoint.resolve_folder(path_or_hub_id)
        config = checkpoint.read_config(folder)
        with torch.device("meta"):
            model = cls(config, attn_implementation)
        weights = checkpoint.load_tensors(folder, _shapes(model), dtype, torch.device(device))
        model.load_state_dict(weights, strict=True, assign=True)
        model.backbone.eagle_model.rebuild_buffers()
        model.assets = checkpoint.read_assets(folder)
        return model.eval()

    @classmethod
    def from_config(
        cls,
        config: Gr00tN1d5Config,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        attn_implementation: str = "sdpa",
    ) -> Self:
        """Random weights, in ``eval()``: the same bits for the same seed, and no trace in the global generators.

        Each part is drawn in float32 and rounded to ``dtype`` before the next is made: the whole network never lies in
        memory in another type.
        """
        with torch.random.fork_rng(devices=[]), torch.device("cpu"), _parts_in(dtype):
            torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which reseeds the GPUs too
            model = cls(config, attn_implementation)
        return model.to(device=device, dtype=dtype).eval()

    @classmethod
    def without_weights(
        cls, config: Gr00tN1d5Config, dtype: torch.dtype = torch.bfloat16, attn_implementation: str = "sdpa"
    ) -> Self:
        """The network with weights that take no memory, in ``eval()``: to see what it would need, see ``utils.fakes``.

        Args:
            config: sizes.
            dtype: type that the weights would have.
            attn_implementation: as in :meth:`from_pretrained`.
        """
        from ..utils.fakes import make_fake

        check_attn_implementation(attn_implementation)
        with torch.device("meta"):
            model = cls(config, attn_implementation).to(dtype)
        make_fake(model)
        model.backbone.eagle_model.rebuild_buffers()
        return model.eval()

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.action_head.dtype

    def encode(
        self,
        eagle_pixel_values: Tensor | None,
        eagle_input_ids: Tensor,
        eagle_attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Vision-language features [B, T, D] in the type of the backbone, before ``action_head.process_features``.

        Args:
            eagle_pixel_values: [B * views, 3, S, S] in [-1, 1], sample-major; None for a prompt without images.
            eagle_input_ids: [B, T] long.
            eagle_attention_mask: [B, T] long; None when nothing is padded, or only on the right. The action head
                sees pads unless it is given the mask as well, see ``action_head.process_features``.

        Raises:
            ValueError: images of another size, or a prompt for another number of images.
        """
        return self.backbone(eagle_input_ids, eagle_attention_mask, eagle_pixel_values)

    @torch.no_grad()
    def get_action(
        self, inputs: Mapping[str, Tensor], noise: Tensor | None = None, num_inference_timesteps: int | None = None
    ) -> Tensor:
        """Action chunk by deterministic Euler integration from noise.

        Args:
            inputs: ``eagle_pixel_values`` (optional), ``eagle_input_ids``, ``eagle_attention_mask`` (optional),
                ``state`` [B, 1, max_state_dim], ``embodiment_id`` [B] long (optional once sliced to one embodiment).
                Other entries are ignored.
            noise: x at t = 0, [B, H, A]; drawn from N(0, 1) when None.
            num_inference_timesteps: Euler steps; the checkpoint's own number (4) when None.

        Returns:
            Normalised actions [B, H, A] float32.
        """
        head = self.config.action_head
        features = self.encode(
            inputs.get("eagle_pixel_values"), inputs["eagle_input_ids"], inputs.get("eagle_attention_mask")
        )
        vl = self.action_head.process_features(features)
        ctx = self.action_head.prepare(vl, inputs["state"], inputs.get("embodiment_id"))
        if noise is None:
            noise = torch.randn(features.shape[0], head.action_horizon, head.action_dim, device=features.device)
        return self.action_head.integrate(noise.float(), ctx, num_inference_timesteps or head.num_inference_timesteps)

    def export_tensors(self) -> dict[str, Tensor]:
        """Official name -> weight: sliced embodiments put back into the full table, the tied ``lm_head`` added.

        Tensors are references to the model's own where they can be.

        Raises:
            CheckpointError: the model holds other weights than a GR00T N1.5 (adapters not merged).
        """
        state = dict(self.state_dict())
        for name, layer in self.named_modules():
            if isinstance(layer, CategorySpecificLinear):
                state[f"{name}.W"], state[f"{name}.b"] = layer.full_table()
        with torch.device("meta"):
            plain = type(self)(self.config)
        return checkpoint.official_tensors(state, _shapes(plain))

    def save_pretrained(self, path: str | os.PathLike[str]) -> None:
        """Write the official layout to the folder ``path``, whole or not at all, in the type of the weights.

        A sliced embodiment goes back into the full table, the tied ``lm_head`` is added, :attr:`assets` are written.

        Raises:
            CheckpointError: ``path`` holds something that is no checkpoint or cannot be written, or adapters are not
                merged.
        """
        checkpoint.save_checkpoint(path, self.export_tensors(), self.config, self.dtype, self.assets)


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}
