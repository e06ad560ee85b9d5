# SPDX-License-Identifier: BSD-3-Clause
"""From an environment's tensors to the network's, and back. Everything stays on the device it is on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from .modality import Modality, Statistics
from .normalise import Normaliser, Part
from .tokenizer import DEFAULT_INSTRUCTION, formalise
from .tokens import Grid, Prompt, TokenKinds


class KnownEmbodiment(NamedTuple):
    """What a network's files say of an embodiment; None where they say nothing."""

    row: int | None = None
    """Its row of the per-embodiment weights."""
    steps: int | None = None
    """Steps of a chunk that its data had, which may be fewer than the network's: what follows means nothing."""

    def check(self, tag: str, embodiment_id: int, n_action_steps: int) -> None:
        """Compare settings with it.

        Raises:
            ValueError: They differ; the message begins with the setting.
        """
        if self.row not in (None, embodiment_id):
            raise ValueError(
                f"embodiment_id is {embodiment_id}, but the checkpoint says {self.row} for {tag!r}; set that, or "
                "another modality.embodiment_tag"
            )
        if self.steps is not None and n_action_steps > self.steps:
            raise ValueError(
                f"n_action_steps is {n_action_steps}, but the checkpoint was trained on chunks of {self.steps} for "
                f"{tag!r}; set 1 to {self.steps}"
            )


class UsualEmbodiment(NamedTuple):
    """What NVIDIA's own programs do with an embodiment and no file of a network says; None where they do not."""

    row: int | None = None
    """Its row of the per-embodiment weights."""
    video_crop: float | None = None
    """Share of each side of a picture that is kept."""


class Gr00tProcessor(nn.Module):
    """Images, prompts, state and action of one task. Prompts and statistics are buffers and move with the module.

    Instructions are tokenised once, here. Prompts of different length are padded on the right: in a causal language
    model no token sees what follows it, so that the tokens of each prompt have the features they have alone. (The
    released code pads on the left, at the same distances between tokens.) The action head, which is not causal, must
    be given the :attr:`token_mask` of the prompts.

    Pictures stand before the instruction, alike in all prompts.

    Args:
        config: sizes of the network.
        tokenizer: from ``load_tokenizer`` or the generation's ``tiny_tokenizer``.
        instruction: what the robot is told to do; a list where envs are told different things.
        num_views: cameras per sample, 0 for a prompt without images; the modality's, or 1, where None.
        device: where the buffers are made.
        formalize_language: lower-case the instruction and remove its punctuation; None: as the checkpoint was trained,
            where it says so.
        modality: the embodiment's keys; where None, states and actions are taken as normalised.
        statistics: of the checkpoint, from :meth:`read_statistics`; None if no key is normalised.
        image_sizes: (height, width) of each view [px], where the picture's size decides how many tokens it has.
        assets: the network's files, which may say how pictures, states and actions are treated.

    Raises:
        CheckpointError: the tokenizer belongs to another checkpoint.
        ValueError: no instruction or a wrong number of views; a key without the statistics it needs.
    """

    _input_ids: Tensor
    _is_token: Tensor
    _position_ids: Tensor | None
    _text_positions: Tensor
    _image_positions: Tensor
    _to_env: Tensor
    _from_env: Tensor

    def __init__(
        self,
        config: Any,
        tokenizer: PreTrainedTokenizerBase,
        instruction: str | Sequence[str] = DEFAULT_INSTRUCTION,
        num_views: int | None = None,
        device: str | torch.device = "cpu",
        formalize_language: bool | None = None,
        modality: Modality | None = None,
        statistics: Statistics | None = None,
        image_sizes: Sequence[tuple[int, int]] | None = None,
        assets: Mapping[str, bytes] | None = None,
    ):
        super().__init__()
        if num_views is None:
            num_views = 1 if modality is None else len(modality.video)
        if num_views < 0 or (modality is not None and num_views != len(modality.video)):
            raise ValueError(f"num_views is {num_views}: set the number of cameras, 0 for none")
        self.config, self.num_views, self.modality = config, num_views, modality
        self._read_assets(assets or {})
        self._check_tokenizer(tokenizer)
        texts = [instruction] if isinstance(instruction, str) else list(instruction)
        if not texts:
            raise ValueError("the list of instructions is empty: give at least one")
        formal = self.formal_by_default if formalize_language is None else formalize_language
        self.instructions = [formalise(text) if formal else text for text in texts]
        self.grids = self._grids(image_sizes)
        self._tokenise(tokenizer)
        self.normalise_state = self.normalise_action = None
        if modality is not None:
            self._read_modality(modality, statistics)
        self.to(device)

    # -- what a generation fills in ------------------------------------------------------------------------------------

    formal_by_default: bool = False
    """Whether instructions are formalised where nobody says."""

    crops_itself: bool = False
    """Whether the network's files say what is cut off a picture, so that the modality must not."""

    @classmethod
    def read_statistics(cls, assets: Mapping[str, bytes], modality: Modality) -> Statistics | None:
        """Return what a network's files say of the data that the modality's keys are normalised by; None if none is.

        Raises:
            ValueError: the statistics of a key that is normalised are missing or do not fit.
        """
        raise NotImplementedError

    @classmethod
    def all_statistics(cls, assets: Mapping[str, bytes]) -> dict[str, Statistics]:
        """Return what a network's files say of the data of every embodiment: tag -> statistics of all its keys.

        Raises:
            CheckpointError, ValueError: The file is not readable.
        """
        raise NotImplementedError

    @classmethod
    def with_statistics(
        cls,
        assets: Mapping[str, bytes],
        config: Any,
        modality: Modality,
        statistics: Statistics,
        image_sizes: Mapping[str, tuple[int, int]],
        fps: float,
        embodiment_id: int | None = None,
    ) -> dict[str, bytes]:
        """Return a network's files with an embodiment's statistics in them; those of other embodiments stay.

        Args:
            assets: File name -> content, as they were.
            config: Sizes of the network.
            modality: The embodiment's keys.
            statistics: Of all state and action keys, in the units of the env.
            image_sizes: (height, width) of each of the embodiment's cameras [px].
            fps: Frames per second, which is the control rate.
            embodiment_id: Row of the per-embodiment weights, for files that name it.
        """
        raise NotImplementedError

    @classmethod
    def known_embodiment(cls, assets: Mapping[str, bytes], tag: str) -> KnownEmbodiment:
        """Return what a network's files say of an embodiment."""
        return KnownEmbodiment()

    @classmethod
    def usual_embodiment(cls, tag: str, embodiments: int) -> UsualEmbodiment:
        """Return what NVIDIA's programs do with an embodiment of a network with so many, and its files do not say."""
        return UsualEmbodiment()

    @classmethod
    def as_trained(cls, assets: Mapping[str, bytes], modality: Modality) -> Modality:
        """Return a modality with its keys ordered and scaled as a network's files say of the embodiment.

        Files that say nothing of it leave the modality as it is.
        """
        return modality

    @classmethod
    def declared_modality(cls, assets: Mapping[str, bytes], tag: str | None) -> Modality | None:
        """Return the keys of an embodiment, where a network's files say all of them; None where they do not.

        Args:
            assets: A network's files.
            tag: The embodiment; None: the only one that there is.

        Raises:
            ValueError: There is no such embodiment, or several and no tag.
        """
        return None

    @property
    def poses(self) -> list[str]:
        """Action keys that are poses relative to the state: none of their numbers moves alone."""
        return []

    @classmethod
    def relative_states(cls, assets: Mapping[str, bytes], modality: Modality) -> dict[str, str]:
        """Return the state key to which the network gives an action key's values relative; those that are not, miss."""
        return {}

    @classmethod
    def relative_chunks(
        cls, assets: Mapping[str, bytes], modality: Modality, chunks: Tensor, state: Tensor
    ) -> dict[str, Tensor]:
        """Actions that the network gives relative to the state, whose statistics are those of ``relative_action``.

        Args:
            assets: A network's files.
            modality: The embodiment's keys.
            chunks: Raw actions [N, H, A] in the env's order.
            state: Raw states [N, S] at their beginning.

        Returns:
            Action key -> [N, H, dim]; empty where none is relative.
        """
        return {}

    def _read_assets(self, assets: Mapping[str, bytes]) -> None:
        """Keep what the network's files say of the treatment of pictures, states and actions."""

    def _grids(self, image_sizes: Sequence[tuple[int, int]] | None) -> tuple[Grid, ...]:
        """Patches of each view."""
        raise NotImplementedError

    def _tokens_of(self, grid: Grid) -> int:
        """Image tokens of a picture."""
        raise NotImplementedError

    def _render(self, tokenizer: PreTrainedTokenizerBase, instruction: str) -> str:
        """The text of a prompt, image tokens written out."""
        raise NotImplementedError

    def _check_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Make sure that the tokenizer and the network mean the same token by an image."""
        raise NotImplementedError

    def _positions(self, input_ids: Tensor) -> Tensor | None:
        """Positions of each token, long [3, P, T], where the language model's have three parts."""
        return None

    def _image(self, image: Tensor) -> Tensor:
        """One view, uint8 [N, H, W, 3], as the backbone takes it."""
        raise NotImplementedError

    def _join(self, pictures: list[Tensor]) -> Tensor:
        """All views of N samples in one tensor, sample-major, as ``backbone.vision`` takes them."""
        raise NotImplementedError

    # -- prompt --------------------------------------------------------------------------------------------------------

    def _tokenise(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Make the prompts' tokens [P, T], where they are tokens, bool [P, T], and where those are pictures."""
        image, of_images = self.config.image_token_index, sum(self._tokens_of(grid) for grid in self.grids)
        self.prompt_texts = [self._render(tokenizer, text) for text in self.instructions]
        rows = []
        for text in self.prompt_texts:
            ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]  # pyright: ignore
            if ids.count(image) != of_images:
                raise ValueError(
                    f"the instruction holds image tokens ({ids.count(image)} in the prompt): remove "
                    f"{tokenizer.convert_ids_to_tokens(image)} from it"
                )
            rows.append(torch.tensor(ids))
        lengths = torch.tensor([len(row) for row in rows])
        # which token stands for padding is of no consequence; a prompt opens with one that is no image
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=int(rows[0][0]))
        self.register_buffer("_input_ids", padded, persistent=False)
        is_token = torch.arange(padded.shape[1]) < lengths[:, None]
        self.register_buffer("_is_token", is_token, persistent=False)
        self.is_padded = not bool(is_token.all())
        self.register_buffer("_position_ids", self._positions(padded), persistent=False)
        kinds = TokenKinds.of(padded[0] == image)
        self.register_buffer("_text_positions", kinds.text, persistent=False)
        self.register_buffer("_image_positions", kinds.image, persistent=False)

    @property
    def kinds(self) -> TokenKinds | None:
        """Where the prompts' tokens are pictures, for an action head that asks; None for one that does not."""
        if not self.config.action_head.attend_text_every_n_blocks:
            return None
        return TokenKinds(self._text_positions, self._image_positions)

    def _read_modality(self, modality: Modality, statistics: Statistics | None) -> None:
        """Make the normalisers, and the permutations between the env's action and the order of the keys."""
        self.normalise_state, self.normalise_action = self._normalisers(modality, statistics or Statistics({}, {}))
        from_env = torch.cat([torch.arange(key.start, key.end) for key in modality.action.values()])
        self.register_buffer("_from_env", from_env, persistent=False)
        self.register_buffer("_to_env", from_env.argsort(), persistent=False)

    def _normalisers(self, modality: Modality, statistics: Statistics) -> tuple[Any, Any]:
        """Normalisers of the state and of the action in the keys' order."""
        statistics.check(modality)
        state, action = modality.state.items(), modality.action.items()
        states = [Part(key.dim, key.mode, statistics.state.get(name, {}) if key.mode else {}) for name, key in state]
        actions = [
            Part(key.dim, key.normalization, statistics.action.get(name, {}) if key.normalization else {})
            for name, key in action
        ]
        return Normaliser(states), Normaliser(actions)

    @property
    def prompt_length(self) -> int:
        """Tokens T of the longest prompt, images included."""
        return self._input_ids.shape[1]

    def prompt(self, rows: int | Tensor) -> Prompt:
        """The prompts of samples.

        Args:
            rows: n samples of the first instruction (views, not copies), or the number of each sample's instruction,
                int64 [n].
        """
        positions = self._position_ids
        if isinstance(rows, int):
            ids = self._input_ids[:1].expand(rows, -1)
            positions = None if positions is None else positions[:, :1].expand(-1, rows, -1)
        else:
            ids = self._input_ids[rows]
            positions = None if positions is None else positions[:, rows]
        return Prompt(ids, position_ids=positions, grids=self.grids)

    def token_mask(self, rows: int | Tensor) -> Tensor | None:
        """Where the prompts of ``rows``, see :meth:`prompt`, hold tokens, bool [n, T]; None if none is padded."""
        if not self.is_padded:
            return None
        return self._is_token[:1].expand(rows, -1) if isinstance(rows, int) else self._is_token[rows]

    # -- images --------------------------------------------------------------------------------------------------------

    def images(self, views: Sequence[Tensor], is_cropped: bool = False) -> Tensor:
        """Camera images as the backbone takes them.

        Args:
            views: per camera a uint8 [N, H, W, 3], in the prompt's order; sizes may differ between cameras.
            is_cropped: whether they are the part that the modality keeps already, as a random crop takes it.

        Raises:
            ValueError: another number of views than the prompt has, or tensors that are not such images.
        """
        if len(views) != self.num_views or not views:
            raise ValueError(f"{len(views)} camera images for a prompt of {self.num_views} views: give one per view")
        for image in views:
            if image.dtype != torch.uint8 or image.ndim != 4 or image.shape[-1] != 3:
                raise ValueError(f"image is {image.dtype} {list(image.shape)}, expected uint8 [N, H, W, 3]")
        if self.modality is not None and not is_cropped:
            views = [middle(view, self.modality.video_crop) for view in views]
        return self._join([self._image(view) for view in views])

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

    def action(self, chunk: Tensor, dim: int, state: Tensor | None = None) -> Tensor:
        """The robot's own ``dim`` dimensions of a padded chunk, [N, H, action_dim] -> [N, H, dim], in the env's units.

        Args:
            chunk: from the network.
            dim: dimensions of the env's action.
            state: raw state [N, S] at the decision, to which some checkpoints' actions are relative.

        Raises:
            ValueError: more dimensions than a chunk has, or others than the modality has.
        """
        if not 0 < dim <= chunk.shape[-1]:
            raise ValueError(f"action dim is {dim}, the chunk has {chunk.shape[-1]}: set 1 to {chunk.shape[-1]}")
        if self.modality is None or self.normalise_action is None:
            return chunk[..., :dim]
        if dim != self.modality.action_dim:
            raise ValueError(f"action dim is {dim}, the modality has {self.modality.action_dim}: set that")
        return self._from_network(chunk[..., :dim], state).index_select(-1, self._to_env)

    def pad_action(self, actions: Tensor, state: Tensor | None = None) -> Tensor:
        """Undo :meth:`action`, for supervised training: [N, H, dim] -> [N, H, action_dim] float32, zero padded.

        Raises:
            ValueError: more dimensions than the network has, or others than the modality has.
        """
        actions = actions.float()
        if self.modality is not None and self.normalise_action is not None:
            if actions.shape[-1] != self.modality.action_dim:
                raise ValueError(f"action has {actions.shape[-1]} dimensions, the modality {self.modality.action_dim}")
            actions = self._to_network(actions.index_select(-1, self._from_env), state)
        return self._pad(actions, self.config.action_head.action_dim, "action")

    def _from_network(self, actions: Tensor, state: Tensor | None) -> Tensor:
        """Actions [N, H, A] in the keys' order: from the network's units to the env's."""
        assert self.normalise_action is not None
        return self.normalise_action.inverse(actions)

    def _to_network(self, actions: Tensor, state: Tensor | None) -> Tensor:
        """Undo :meth:`_from_network`."""
        assert self.normalise_action is not None
        return self.normalise_action(actions)

    @staticmethod
    def _pad(x: Tensor, width: int, name: str) -> Tensor:
        if x.shape[-1] > width:
            raise ValueError(f"{name} has {x.shape[-1]} dimensions, the network takes {width}: drop some")
        return F.pad(x.float(), (0, width - x.shape[-1]))


def kept_sides(sides: Sequence[int], share: float) -> list[int]:
    """How much of each side a crop keeps, rounded down, as in the released ``VideoCrop`` [px]."""
    return [max(1, int(side * share)) for side in sides]


def middle(image: Tensor, share: float) -> Tensor:
    """The middle of pictures, a view [N, H', W', C] of [N, H, W, C] with a ``share`` of each side.

    Sizes are rounded down, and the place as in torchvision's ``CenterCrop``, with which GR00T is evaluated.
    """
    sides = [int(side) for side in image.shape[1:3]]  # a tracer's are tensors, which do not round
    kept = kept_sides(sides, share)
    top, left = (round((side - k) / 2) for side, k in zip(sides, kept, strict=True))
    return image[:, top : top + kept[0], left : left + kept[1]]
