# SPDX-License-Identifier: BSD-3-Clause
"""From an environment's tensors to the network's, and back. Everything stays on the device it is on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from .config import Gr00tN1d5Config
from .tokenizer import DEFAULT_INSTRUCTION, check_tokenizer, formalise, render_prompt


class Gr00tProcessor:
    """Images, prompt, state and action of one task.

    The instruction is tokenised once, here; it is the same for every env and every step.

    Args:
        config: sizes of the network.
        tokenizer: from ``load_tokenizer`` or ``tiny_tokenizer``.
        instruction: what the robot is told to do.
        num_views: cameras per sample; 0 for a prompt without images.
        device: where :meth:`prompt` puts its tensors.
        formalize_language: lower-case the instruction and remove its punctuation, as some data configs do.

    Raises:
        CheckpointError: the tokenizer belongs to another checkpoint.
        ValueError: a negative number of views.
    """

    def __init__(
        self,
        config: Gr00tN1d5Config,
        tokenizer: PreTrainedTokenizerBase,
        instruction: str = DEFAULT_INSTRUCTION,
        num_views: int = 1,
        device: str | torch.device = "cpu",
        formalize_language: bool = False,
    ):
        if num_views < 0:
            raise ValueError(f"num_views is {num_views}: set the number of cameras, 0 for none")
        check_tokenizer(tokenizer, config)
        self.config = config
        self.num_views = num_views
        self.instruction = formalise(instruction) if formalize_language else instruction
        self.prompt_text = render_prompt(tokenizer, self.instruction, num_views, config.tokens_per_image)
        ids: list[int] = tokenizer(self.prompt_text, add_special_tokens=False)["input_ids"]  # pyright: ignore
        images = ids.count(config.image_token_index)
        if images != num_views * config.tokens_per_image:
            raise ValueError(
                f"the instruction holds image tokens ({images} in the prompt): remove <IMG_CONTEXT> from it"
            )
        self._input_ids = torch.tensor([ids], device=device)  # [1, T]
        self._attention_mask = torch.ones_like(self._input_ids)

    @property
    def prompt_length(self) -> int:
        """Tokens T of the prompt, images included."""
        return self._input_ids.shape[1]

    def prompt(self, n: int) -> tuple[Tensor, Tensor]:
        """``eagle_input_ids`` and ``eagle_attention_mask`` for n samples, each [n, T] long: views, not copies."""
        return self._input_ids.expand(n, -1), self._attention_mask.expand(n, -1)

    def images(self, views: Sequence[Tensor]) -> Tensor:
        """Camera images to ``eagle_pixel_values``.

        Args:
            views: per camera a uint8 [N, H, W, 3], in the prompt's order; sizes may differ between cameras.

        Returns:
            [N * views, 3, S, S] float32 in [-1, 1], sample-major: the order in which image tokens stand in a batch of
            prompts. Images of another size than S are resized (bicubic, antialiased) without keeping their aspect.

        Raises:
            ValueError: another number of views than the prompt has, or tensors that are not such images.
        """
        if len(views) != self.num_views or not views:
            raise ValueError(f"{len(views)} camera images for a prompt of {self.num_views} views: give one per view")
        return torch.stack([self._image(view) for view in views], dim=1).flatten(0, 1)

    def _image(self, image: Tensor) -> Tensor:
        if image.dtype != torch.uint8 or image.ndim != 4 or image.shape[-1] != 3:
            raise ValueError(f"image is {image.dtype} {list(image.shape)}, expected uint8 [N, H, W, 3]")
        size = self.config.vision.image_size
        pixels = image.permute(0, 3, 1, 2).float()  # [N, 3, H, W]
        if pixels.shape[-2:] != (size, size):
            # Bicubic overshoots at edges; a picture does not.
            pixels = F.interpolate(pixels, (size, size), mode="bicubic", antialias=True).clamp(0, 255)
        return pixels / 127.5 - 1  # rescale by 1/255, then mean 0.5 and std 0.5

    def state(self, x: Tensor) -> Tensor:
        """Normalised state [N, S] -> [N, 1, max_state_dim] float32, zero padded.

        Raises:
            ValueError: more dimensions than the network takes.
        """
        return self._pad(x, self.config.action_head.max_state_dim, "state").unsqueeze(1)

    def action(self, chunk: Tensor, dim: int) -> Tensor:
        """The robot's own ``dim`` dimensions of a padded chunk: [N, H, action_dim] -> [N, H, dim].

        Raises:
            ValueError: more dimensions than a chunk has.
        """
        if not 0 < dim <= chunk.shape[-1]:
            raise ValueError(f"action dim is {dim}, the chunk has {chunk.shape[-1]}: set 1 to {chunk.shape[-1]}")
        return chunk[..., :dim]

    def pad_action(self, chunk: Tensor) -> Tensor:
        """Normalised actions [N, H, dim] -> [N, H, action_dim] float32, zero padded (for supervised training)."""
        return self._pad(chunk, self.config.action_head.action_dim, "action")

    @staticmethod
    def _pad(x: Tensor, width: int, name: str) -> Tensor:
        if x.shape[-1] > width:
            raise ValueError(f"{name} has {x.shape[-1]} dimensions, the network takes {width}: drop some")
        return F.pad(x.float(), (0, width - x.shape[-1]))
