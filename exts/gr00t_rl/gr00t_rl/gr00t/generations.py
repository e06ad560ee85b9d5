# SPDX-License-Identifier: BSD-3-Clause
"""What a generation of GR00T must offer, and which there are.

A generation is a folder beside this file, one module per step of the forward pass; its ``__init__`` offers the names of
:class:`Generation`. Everything else in ``gr00t_rl`` (actor, training, estimate, export) knows a generation by them
alone. What generations share exists once, beside this file: the action head and its transformers, the embodiment
layers, files on disk, normalisation.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from .head_config import ActionHeadConfig

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerBase

    from .checkpoint import Layout
    from .flops import Flops
    from .network import Gr00tNetwork
    from .processor import Gr00tProcessor
    from .tokens import Grid, Prompt


class NetworkConfig(Protocol):
    """All sizes of a network; frozen, and free of torch, so that command lines can ask for them.

    Raises:
        ValueError: Sizes that cannot belong to one network.
    """

    generation: ClassVar[str]
    """Its key in :data:`GENERATIONS`."""
    files: ClassVar[tuple[str, ...]]
    """What the sizes are read from; the first one must be there."""

    @property
    def action_head(self) -> ActionHeadConfig:
        """Sizes of the action head."""
        ...

    @property
    def feature_dim(self) -> int:
        """Width D of the vision-language features."""
        ...

    @property
    def image_token_index(self) -> int:
        """Id of the token that an image token replaces."""
        ...

    @classmethod
    def full_size(cls) -> Self:
        """The released network."""
        ...

    @classmethod
    def tiny(cls, **sizes: Any) -> Self:
        """The same network, small enough to train on a CPU; every keyword is an integer with a default."""
        ...

    @classmethod
    def from_files(cls, files: Mapping[str, Mapping[str, Any]]) -> Self:
        """Read the contents of the :attr:`files` that there are, by name."""
        ...

    def to_files(self, dtype_name: str) -> dict[str, dict[str, Any]]:
        """Contents of the :attr:`files`, by name, for weights stored as ``dtype_name`` (such as "bfloat16")."""
        ...


class Backbone(Protocol):
    """Pictures and prompt to features, in three steps that can be cut: what is frozen runs once per decision."""

    kept_widths: tuple[int, int]
    """Widths of what :meth:`vision` and :meth:`project` return."""
    lora_targets: ClassVar[Mapping[str, tuple[str, ...]]]
    """Part ("vision", "llm") -> how the names of its linear layers end that LoRA adapts in every block."""

    def vision(self, pixels: Tensor, grids: tuple[Grid, ...]) -> Tensor:
        """Pictures of B samples, as the processor's ``images`` makes them -> [B, n, W], before the projector."""
        ...

    def project(self, x: Tensor) -> Tensor:
        """What :meth:`vision` returns -> image tokens [B, m, W']."""
        ...

    def embed(self, input_ids: Tensor) -> Tensor:
        """Embeddings of a prompt's tokens: [B, T] -> [B, T, D]."""
        ...

    def read(self, prompt: Prompt, image_tokens: Tensor | None) -> Tensor:
        """Prompt and image tokens -> features [B, T, D]; traceable where ``prompt.traced`` is given."""
        ...

    def is_image(self, input_ids: Tensor) -> Tensor:
        """Which tokens of a prompt are a picture's, bool like ``input_ids``."""
        ...

    def part_modules(self) -> dict[str, tuple[nn.Module, ...]]:
        """Modules of the parts "vision", "mlp1" and "llm"."""
        ...

    def rebuild_buffers(self) -> None:
        """Recompute the buffers that no checkpoint holds."""
        ...


class Generation(Protocol):
    """The package of a generation."""

    MODEL_TYPE: str
    """``model_type`` in its config.json."""
    LAYOUT: Layout
    """Its files and names on disk."""
    Config: type[NetworkConfig]
    Network: type[Gr00tNetwork]
    Processor: type[Gr00tProcessor]

    def tiny_tokenizer(self, config: Any) -> PreTrainedTokenizerBase:
        """A byte-level tokenizer that fits ``config``."""
        ...

    def count_flops(self, config: Any, tokens: int, grids: Sequence[Grid]) -> Flops:
        """Forward operations of one sample of ``tokens`` tokens, with pictures of ``grids`` patches."""
        ...


GENERATIONS: Mapping[str, str] = {"n1.5": ".n1d5", "n1.7": ".n1d7"}
"""Name -> package."""
TINY: Mapping[str, str] = {"tiny": "n1.5", "tiny-n1.7": "n1.7"}
"""What stands for a checkpoint where a small random network is wanted -> its generation."""


def tiny_for_image(config_class: Any, side: int | None, **sizes: int) -> Any:
    """Return :meth:`NetworkConfig.tiny` for square images of ``side`` pixels, eight patches a side; others are resized.

    N1.5 makes a token of each patch: of a frozen random encoder with four a side, a linear probe finds half as much of
    a goal's position. N1.7 joins four patches: a probe finds a disc's position as well as with eight tokens a side (R²
    0.97 and 0.98), in a fifth of the time.

    Args:
        config_class: Of the generation.
        side: Of the images [px]; None without cameras.
        **sizes: Others, which win.
    """
    if side is not None:
        side = side if side % 8 == 0 else 64
        sizes = {"image_size": side, "patch_size": side // 8} | sizes
    return config_class.tiny(**sizes)


def generation(name: str) -> Generation:
    """Return a generation by its name.

    Raises:
        ValueError: There is none of that name.
    """
    if name not in GENERATIONS:
        raise ValueError(f"generation is {name!r}: set one of {', '.join(GENERATIONS)}")
    return importlib.import_module(GENERATIONS[name], __package__)  # pyright: ignore[reportReturnType]


def generation_of_config(config: Mapping[str, Any]) -> Generation:
    """Return the generation of the content of a config.json.

    Raises:
        ValueError: It is of none that is known.
    """
    known = {generation(name).MODEL_TYPE: name for name in GENERATIONS}
    found = config.get("model_type")
    if not isinstance(found, str) or found not in known:
        raise ValueError(f"model_type is {found!r}, not {' or '.join(map(repr, known))}: give a GR00T checkpoint")
    return generation(known[found])
