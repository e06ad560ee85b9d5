# SPDX-License-Identifier: BSD-3-Clause
"""From an environment's tensors to the network's, and back. Everything stays on the device it is on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from .config import Gr00tN1d5Config
from .modality import Modality, Statistics
from .normalise import Normaliser, Part
from .tokenizer import DEFAULT_INSTRUCTION, check_tokenizer, formalise, render_prompt


class Gr00tProcessor(nn.Module):
    """Images, prompts, state and action of one task. Prompts and statistics are buffers and move with the module.

    Instructions are tokenised once, here. Prompts of different length are padded on the right: in a causal language
    model no token sees what follows it, so that the tokens of each prompt have the features they have alone. (The
    released code pads on the left, at the same distances between tokens.) The action head, which is not causal, must
    be given the :attr:`token_mask` of the prompts.

    Args:
        config: sizes of the network.
        tokenizer: from ``load_tokenizer`` or ``tiny_tokenizer``.
        instruction: what the robot is told to do; a list where envs are told different things.
        num_views: cameras per sample, 0 for a prompt without images; the modality's, or 1, where None.
        device: where the buffers are made.
        formalize_language: lower-case the instruction and remove its punctuation, as some data configs do.
        modality: the embodiment's keys; where None, states and actions are taken as normalised.
        statistics: of the checkpoint; None if no key is normalised.

    Raises:
        CheckpointError: the tokenizer belongs to another checkpoint.
        ValueError: no instruction or a wrong number of views; a key without the statistics it needs.
    """

    _input_ids: Tensor
    _is_token: Tensor
    _to_env: Tensor
    _from_env: Tensor

    def __init__(
        self,
        config: Gr00tN1d5Config,
        tokenizer: PreTrainedTokenizerBase,
        instruction: str | Sequence[str] = DEFAULT_INSTRUCTION,
        num_views: int | None = None,
        device: str | torch.device = "cpu",
        formalize_language: bool = False,
        modality: Modality | None = None,
        statistics: Statistics | None = None,
    ):
        super().__init__()
        if num_views is None:
            num_views = 1 if modality is None else len(modality.video)
        if num_views < 0 or (modality is not None and num_views != len(modality.video)):
            raise ValueError(f"num_views is {num_views}: set the number of cameras, 0 for none")
        check_tokenizer(tokenizer, config)
        self.config, self.num_views, self.modality = config, num_views, modality
        texts = [instruction] if isinstance(instruction, str) else list(instruction)
        if not texts:
            raise ValueError("the list of instructions is empty: give at least one")
        self.instructions = [formalise(text) if formalize_language else text for text in texts]
        self._tokenise(tokenizer)
        self.normalise_state = self.normalise_action = None
        if modality is not None:
            self._read_modality(modality, statistics)
        self.to(device)

    def _tokenise(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Make the prompts' tokens [P, T] and where they are tokens, bool [P, T]."""
        image, per_view = self.config.image_token_index, self.config.tokens_per_image
        self.prompt_texts = [render_prompt(tokenizer, text, self.num_views, per_view) for text in self.instructions]
        rows = []
        for text in self.prompt_texts:
            ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]  # pyright: ignore
            if ids.count(image) != self.num_views * per_view:
                raise ValueError(
                    f"the instruction holds image tokens ({ids.count(image)} in the prompt): remove <IMG_CONTEXT> "
                    "from it"
                )
            rows.append(torch.tensor(ids))
        lengths = torch.tensor([len(row) for row in rows])
        # which token stands for padding is of no consequence; a prompt opens with one that is no image
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=int(rows[0][0]))
        self.register_buffer("_input_ids", padded, persistent=False)
        is_token = torch.arange(padded.shape[1]) < lengths[:, None]
        self.register_buffer("_is_token", is_token, persistent=False)
        self.is_padded = not bool(is_token.all())

    def _read_modality(self, modality: Modality, statistics: Statistics | None) -> None:
        """Make the normalisers, and the permutations between the env's action and the order of the keys."""
        statistics = statistics or Statistics({}, {})
        statistics.check(modality)
        state, action = modality.state.items(), modality.action.items()
        parts = [Part(key.dim, key.mode, statistics.state.get(name, {}) if key.mode else {}) for name, key in state]
        self.normalise_state = Normaliser(parts)
        parts = [
            Part(key.dim, key.normalization, statistics.action.get(name, {}) if key.normalization else {})
            for name, key in action
        ]
        self.normalise_action = Normaliser(parts)
        from_env = torch.cat([torch.arange(key.start, key.end) for _, key in action])
        self.register_buffer("_from_env", from_env, persistent=False)
        self.register_buffer("_to_env", from_env.argsort(), persistent=False)

    # -- prompt --------------------------------------------------------------------------------------------------------

    @property
    def prompt_length(self) -> int:
        """Tokens T of the longest prompt, images included."""
        return self._input_ids.shape[1]

    def prompt(self, rows: int | Tensor) -> tuple[Tensor, Tensor]:
        """``eagle_input_ids`` and ``eagle_attention_mask``, each int64 [n, T].

        Args:
            rows: n samples of the first instruction (views, not copies), or the number of each sample's instruction,
                int64 [n].
        """
        mask = self._is_token.long()
        if isinstance(rows, int):
            return self._input_ids[:1].expand(rows, -1), mask[:1].expand(rows, -1)
        return self._input_ids[rows], mask[rows]

    def token_mask(self, rows: int | Tensor) -> Tensor | None:
        """Where the prompts of ``rows``, see :meth:`prompt`, hold tokens, bool [n, T]; None if none is padded."""
        if not self.is_padded:
            return None
        return self._is_token[:1].expand(rows, -1) if isinstance(rows, int) else self._is_token[rows]

    # -- images --------------------------------------------------------------------------------------------------------

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

    # -- state and action ----------------------------------------------------------------------------------------------

    def state(self, x: Tensor) -> Tensor:
        """State [N, S] -> [N, 1, max_state_dim] float32: normalised where there is a modality, and zero padded.

        Args:
            x: raw, from :meth:`Modality.select_state`; normalised already where there is no modality.

        Raises:
            ValueError: more dimensions than the network takes, or others than the modality has.
        """
        if self.modality is not None and x.shape[-1] != self.modality.state_dim:
            raise ValueError(
                f"state has {x.shape[-1]} dimensions, the modality {self.modality.state_dim}: take select_state's"
            )
        x = x.float()
        if self.normalise_state is not None:
            x = self.normalise_state(x)
        return self._pad(x, self.config.action_head.max_state_dim, "state").unsqueeze(1)

    def action(self, chunk: Tensor, dim: int) -> Tensor:
        """The robot's own ``dim`` dimensions of a padded chunk, [N, H, action_dim] -> [N, H, dim], in the env's units.

        Raises:
            ValueError: more dimensions than a chunk has, or others than the modality has.
        """
        if not 0 < dim <= chunk.shape[-1]:
            raise ValueError(f"action dim is {dim}, the chunk has {chunk.shape[-1]}: set 1 to {chunk.shape[-1]}")
        if self.modality is None or self.normalise_action is None:
            return chunk[..., :dim]
        if dim != self.modality.action_dim:
            raise ValueError(f"action dim is {dim}, the modality has {self.modality.action_dim}: set that")
        return self.normalise_action.inverse(chunk[..., :dim]).index_select(-1, self._to_env)

    def pad_action(self, actions: Tensor) -> Tensor:
        """Undo :meth:`action`, for supervised training: [N, H, dim] -> [N, H, action_dim] float32, zero padded.

        Raises:
            ValueError: more dimensions than the network has, or others than the modality has.
        """
        actions = actions.float()
        if self.modality is not None and self.normalise_action is not None:
            if actions.shape[-1] != self.modality.action_dim:
                raise ValueError(f"action has {actions.shape[-1]} dimensions, the modality {self.modality.action_dim}")
            actions = self.normalise_action(actions.index_select(-1, self._from_env))
        return self._pad(actions, self.config.action_head.action_dim, "action")

    @staticmethod
    def _pad(x: Tensor, width: int, name: str) -> Tensor:
        if x.shape[-1] > width:
            raise ValueError(f"{name} has {x.shape[-1]} dimensions, the network takes {width}: drop some")
        return F.pad(x.float(), (0, width - x.shape[-1]))
