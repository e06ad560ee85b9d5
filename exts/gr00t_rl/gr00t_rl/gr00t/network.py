# SPDX-License-Identifier: BSD-3-Clause
"""What the networks of all generations share: a vision-language backbone, a flow-matching action head, files on disk.

See ``checkpoint.py`` for the files, and ``generations.py`` for what a generation adds.
The model is handed out in ``eval()`` and has to stay there, in rollout and update: the head's dropout would make the
log-probability of one action differ between two calls.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

from . import checkpoint
from .action_head import ActionHead
from .attention import check_attn_implementation
from .checkpoint import Layout
from .embodiment import CategorySpecificLinear
from .errors import CheckpointError
from .tokens import Prompt, TokenKinds

if TYPE_CHECKING:
    from .processor import Gr00tProcessor


class Gr00tNetwork(nn.Module):
    """The whole network. Build it with :meth:`from_pretrained` or :meth:`from_config`.

    Attributes:
        config: sizes.
        backbone: images and prompt -> features [B, T, D].
        action_head: features, state and noisy actions -> velocity.
        assets: file name -> content of what is saved beside the weights (statistics, tokenizer).
    """

    config_class: ClassVar[Any]
    """Sizes, see ``generations.py``."""
    backbone_class: ClassVar[Any]
    """Makes the backbone from sizes and kernels, see ``generations.py``."""
    layout: ClassVar[Layout]
    """Files and names on disk."""
    large: ClassVar[tuple[type[nn.Module], ...]]
    """Modules whose children are cast as soon as each is complete, when weights are random."""

    backbone: Any
    """See ``generations.py``."""
    action_head: ActionHead
    config: Any

    def __init__(self, config: Any, attn_implementation: str = "sdpa"):
        super().__init__()
        check_attn_implementation(attn_implementation)
        self.config = config
        self.backbone = self.backbone_class(config, attn_implementation)
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
        config = checkpoint.read_sizes_of(folder, cls.config_class)
        model = cls._without_memory(config, attn_implementation)
        weights = checkpoint.load_tensors(folder, cls.layout, _shapes(model), dtype, torch.device(device))
        model.load_state_dict(weights, strict=True, assign=True)
        model.backbone.rebuild_buffers()
        model.assets = checkpoint.read_assets(folder, cls.layout)
        return model.eval()

    @classmethod
    def from_config(
        cls,
        config: Any,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        attn_implementation: str = "sdpa",
    ) -> Self:
        """Random weights, in ``eval()``: the same bits for the same seed, and no trace in the global generators.

        Each part is drawn in float32 and rounded to ``dtype`` before the next is made: the whole network never lies in
        memory in another type.
        """
        with torch.random.fork_rng(devices=[]), torch.device("cpu"), _parts_in(dtype, cls.large):
            torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which reseeds the GPUs too
            model = cls(config, attn_implementation)
        return model.to(device=device, dtype=dtype).eval()

    @classmethod
    def without_weights(
        cls, config: Any, dtype: torch.dtype = torch.bfloat16, attn_implementation: str = "sdpa"
    ) -> Self:
        """The network with weights that take no memory, in ``eval()``: to see what it would need, see ``utils.fakes``.

        Args:
            config: sizes.
            dtype: type that the weights would have.
            attn_implementation: as in :meth:`from_pretrained`.
        """
        from ..utils.fakes import make_fake

        check_attn_implementation(attn_implementation)
        model = cls._without_memory(config, attn_implementation).to(dtype)
        make_fake(model)
        model.backbone.rebuild_buffers()
        return model.eval()

    @classmethod
    def _without_memory(cls, config: Any, attn_implementation: str = "sdpa") -> Self:
        """The network on the meta device. Raises CheckpointError for sizes that no tensor can have."""
        try:
            with torch.device("meta"):
                return cls(config, attn_implementation)
        except (RuntimeError, OverflowError, MemoryError) as error:
            files = " and ".join(cls.config_class.files)
            raise CheckpointError(
                f"no network has the sizes in {files} ({error}): take them from the source"
            ) from error

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.action_head.dtype

    @property
    def config_files(self) -> dict[str, dict[str, Any]]:
        """Contents of the files with the sizes, by name."""
        return self.config.to_files(str(self.dtype).removeprefix("torch."))

    def encode(self, pixels: Tensor | None, prompt: Prompt) -> Tensor:
        """Vision-language features [B, T, D] in the type of the backbone, before ``action_head.process_features``.

        Args:
            pixels: What the processor's ``images`` returns; None for a prompt without images.
            prompt: What its ``prompt`` returns.

        Raises:
            ValueError: images of another size, or a prompt for other images.
        """
        tokens = None if pixels is None else self.backbone.project(self.backbone.vision(pixels, prompt.grids))
        return self.backbone.read(prompt, tokens)

    @torch.no_grad()
    def decide(
        self,
        processor: Gr00tProcessor,
        pixels: Tensor | None,
        rows: int | Tensor,
        state: Tensor,
        noise: Tensor,
        num_steps: int,
    ) -> Tensor:
        """Action chunk by deterministic Euler integration, from what a processor reads.

        In the types of training: frozen stages in those of the weights, the head under autocast, the chain in float32.

        Args:
            processor: Of the prompts.
            pixels: What its ``images`` returns; None without cameras.
            rows: Numbers of the prompts long [B], or B for the only one.
            state: What its ``state`` returns.
            noise: x at t = 0, float32 [B, H, A].
            num_steps: Euler steps.

        Returns:
            Normalised actions float32 [B, H, A].
        """
        head, mask = self.action_head, processor.token_mask(rows)
        pixels = None if pixels is None else pixels.to(next(self.backbone.parameters()).dtype)
        features = head.process_features(self.encode(pixels, processor.prompt(rows)), mask)
        with torch.autocast(noise.device.type, torch.bfloat16, enabled=self.dtype != torch.float32):
            context = head.prepare(features, state, mask=mask, kinds=processor.kinds)
            return head.integrate(noise, context, num_steps).float()

    def replace_attention(self, kernels: str, by: str) -> Callable[[], None]:
        """Let the layers whose attention is computed by some kernels use others; returns what undoes it."""
        places: list[tuple[Any, str]] = []
        for module in self.modules():
            config = getattr(module, "config", None)  # of transformers' modules
            for owner, name in ((module, "implementation"), (config, "_attn_implementation")):
                if getattr(owner, name, None) == kernels:
                    places.append((owner, name))

        def put(value: str) -> None:
            for owner, name in places:
                setattr(owner, name, value)

        put(by)
        return lambda: put(kernels)

    def read_inputs(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor | None, Prompt]:
        """The release's own inputs of the backbone, by its names, as ``pixels`` and ``prompt`` of :meth:`encode`."""
        raise NotImplementedError

    def token_kinds(self, prompt: Prompt) -> TokenKinds | None:
        """Which of a prompt's tokens are pictures, where the action head asks; waits for the device."""
        return None

    @torch.no_grad()
    def get_action(
        self, inputs: Mapping[str, Tensor], noise: Tensor | None = None, num_inference_timesteps: int | None = None
    ) -> Tensor:
        """Action chunk by deterministic Euler integration from noise.

        Args:
            inputs: what the release's processor makes, by its names: pictures and prompt, see :meth:`read_inputs`;
                ``state`` [B, state_history_length, max_state_dim]; ``embodiment_id`` [B] long (optional once sliced to
                one embodiment). Other entries are ignored.
            noise: x at t = 0, [B, H, A]; drawn from N(0, 1) when None.
            num_inference_timesteps: Euler steps; the checkpoint's own number (4) when None.

        Returns:
            Normalised actions [B, H, A] float32.
        """
        head = self.config.action_head
        pixels, prompt = self.read_inputs(inputs)
        vl = self.action_head.process_features(self.encode(pixels, prompt))
        mask = None
        if self.action_head.masks_padding and prompt.attention_mask is not None:
            mask = prompt.attention_mask.bool()
        ctx = self.action_head.prepare(
            vl, inputs["state"], inputs.get("embodiment_id"), mask=mask, kinds=self.token_kinds(prompt)
        )
        if noise is None:
            noise = torch.randn(len(vl), head.action_horizon, head.action_dim, device=vl.device)
        return self.action_head.integrate(noise.float(), ctx, num_inference_timesteps or head.num_inference_timesteps)

    def export_tensors(self) -> dict[str, Tensor]:
        """Official name -> weight: sliced embodiments put back into the full table, tied weights added.

        Tensors are references to the model's own where they can be.

        Raises:
            CheckpointError: the model holds other weights than the network (adapters not merged).
        """
        state = dict(self.state_dict())
        for name, layer in self.named_modules():
            if isinstance(layer, CategorySpecificLinear):
                state[f"{name}.W"], state[f"{name}.b"] = layer.full_table()
        plain = self._without_memory(self.config)
        return checkpoint.official_tensors(state, _shapes(plain), self.layout)

    def save_pretrained(self, path: str | os.PathLike[str]) -> None:
        """Write the official layout to the folder ``path``, whole or not at all, in the type of the weights.

        A sliced embodiment goes back into the full table, tied weights are added, :attr:`assets` are written.

        Raises:
            CheckpointError: ``path`` holds something that is no checkpoint or cannot be written, or adapters are not
                merged.
        """
        checkpoint.save_checkpoint(path, self.layout, self.export_tensors(), self.config_files, self.assets)


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


@contextlib.contextmanager
def _parts_in(dtype: torch.dtype, large: tuple[type[nn.Module], ...]) -> Iterator[None]:
    """Cast the children of ``large`` modules to ``dtype`` as soon as each is complete."""

    def cast(parent: nn.Module, _: str, part: nn.Module | None) -> None:
        # embeddings and norms are drawn again by their parent, and are small
        if isinstance(parent, large) and part is not None and list(part.children()):
            part.to(dtype)

    hook = register_module_module_registration_hook(cast)
    try:
        yield
    finally:
        hook.remove()
