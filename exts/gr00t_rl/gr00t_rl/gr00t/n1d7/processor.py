# SPDX-License-Identifier: BSD-3-Clause
"""N1.7's pictures, prompt, states and actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ..modality import Modality, Statistics
from ..processor import Gr00tProcessor, KnownEmbodiment
from ..tokenizer import check_image_token
from ..tokens import Grid
from .declared import declared_modality
from .files import EMBODIMENT_FILE, files_with
from .keys import check_keys, in_order, scaled
from .language import mrope_positions
from .pictures import PicturePatches, to_values
from .prompt import IMAGE_TOKEN, render_prompt
from .recipe import PROCESSOR_FILE, Recipe, read_table
from .relative import RelativeActions, read_relative
from .scaling import ScaledKey, Scaler
from .statistics import check_statistics, read_all, read_statistics

if TYPE_CHECKING:
    from .config import Gr00tN1d7Config


class Gr00tN1d7Processor(Gr00tProcessor):
    """The processor of GR00T N1.7: everything as the checkpoint's ``processor_config.json`` says."""

    config: Gr00tN1d7Config
    crops_itself = True
    recipe: Recipe
    relative: RelativeActions | None = None
    """Turns actions that are relative to the state around; None without a modality."""

    @classmethod
    def read_statistics(cls, assets: Mapping[str, bytes], modality: Modality) -> Statistics | None:
        """Statistics of the modality's keys in ``statistics.json``; see the base class."""
        _refuse_crop(modality)
        return read_statistics(assets, modality)

    @classmethod
    def all_statistics(cls, assets: Mapping[str, bytes]) -> dict[str, Statistics]:
        """All of ``statistics.json``; see the base class."""
        return read_all(assets)

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
        """``assets`` with the embodiment in three files, as the release writes them; see the base class."""
        return files_with(assets, config, modality, statistics, image_sizes, embodiment_id)

    @classmethod
    def known_embodiment(cls, assets: Mapping[str, bytes], tag: str) -> KnownEmbodiment:
        """As ``embodiment_id.json`` and ``processor_config.json`` say."""
        steps = len(Recipe.read(assets).modality(tag, "action").get("delta_indices") or ())
        return KnownEmbodiment((read_table(assets, EMBODIMENT_FILE) or {}).get(tag), steps or None)

    @classmethod
    def as_trained(cls, assets: Mapping[str, bytes], modality: Modality) -> Modality:
        """As ``processor_config.json`` says; see the base class."""
        recipe = Recipe.read(assets)
        ordered = in_order(recipe, modality)
        return scaled(recipe, ordered, read_relative(recipe, ordered))

    @classmethod
    def declared_modality(cls, assets: Mapping[str, bytes], tag: str | None) -> Modality | None:
        """As ``processor_config.json`` and ``statistics.json`` say; see the base class."""
        return declared_modality(assets, tag)

    @property
    def poses(self) -> list[str]:
        """See the base class."""
        return [] if self.relative is None else self.relative.poses

    @classmethod
    def relative_states(cls, assets: Mapping[str, bytes], modality: Modality) -> dict[str, str]:
        """See the base class."""
        return {name: found.state for name, found in read_relative(Recipe.read(assets), modality).items()}

    @classmethod
    def relative_chunks(
        cls, assets: Mapping[str, bytes], modality: Modality, chunks: Tensor, state: Tensor
    ) -> dict[str, Tensor]:
        """Actions in the frame of the state at the decision; see the base class."""
        keys = read_relative(Recipe.read(assets), modality)
        columns = [column for key in modality.action.values() for column in range(key.start, key.end)]
        turned = RelativeActions(keys, modality).to_relative(chunks[..., columns].float(), state)
        parts = turned.split([key.dim for key in modality.action.values()], dim=-1)
        return {name: part for name, part in zip(modality.action, parts, strict=True) if name in keys}

    def _read_assets(self, assets: Mapping[str, bytes]) -> None:
        self.recipe = Recipe.read(assets, self.config.raw_config)
        self.formal_by_default = self.recipe.formalize_language

    # -- prompt and pictures -------------------------------------------------------------------------------------------

    def _grids(self, image_sizes: Sequence[tuple[int, int]] | None) -> tuple[Grid, ...]:
        """Patches of each view; without ``image_sizes`` pictures are as large as the checkpoint's."""
        sizes = list(image_sizes or ())
        if not sizes and self.num_views and self.recipe.image_target_size is not None:
            sizes = [self.recipe.image_target_size] * self.num_views
        if len(sizes) != self.num_views:
            raise ValueError(
                f"image_sizes has {len(sizes)} entries: give (height, width) of each of {self.num_views} views"
            )
        vision = self.config.vision
        sides = (vision.patch_size, vision.spatial_merge_size)
        self._patches = nn.ModuleDict(
            {f"{h}x{w}": PicturePatches(self.recipe, (h, w), *sides) for h, w in dict.fromkeys(sizes)}
        )
        grids = [self._patches[f"{h}x{w}"].grid for h, w in sizes]
        return tuple(grids)  # pyright: ignore[reportReturnType]

    def _tokens_of(self, grid: Grid) -> int:
        frames, rows, columns = grid
        return frames * rows * columns // self.config.vision.spatial_merge_size**2

    def _render(self, tokenizer: PreTrainedTokenizerBase, instruction: str) -> str:
        return render_prompt(tokenizer, instruction, [self._tokens_of(grid) for grid in self.grids])

    def _check_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        check_image_token(tokenizer, IMAGE_TOKEN, self.config.image_token_index, "use the tokenizer of Qwen3-VL-2B")

    def _positions(self, input_ids: Tensor) -> Tensor:
        merge = self.config.vision.spatial_merge_size
        return mrope_positions(input_ids, None, self.grids, self.config.image_token_index, merge)

    def _image(self, image: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] -> uint8 [N, patches, 3, pixels of a patch]."""
        size = f"{image.shape[1]}x{image.shape[2]}"
        if size not in self._patches:
            raise ValueError(f"image is {size} pixels, the prompt was made for {', '.join(self._patches)}: give these")
        return self._patches[size](image)

    def _join(self, pictures: list[Tensor]) -> Tensor:
        """float32 [N * patches of all views, numbers of a patch] in [-1, 1], sample-major, in the prompt's order.

        Views are joined while they have 8 bits and one frame.
        """
        patches = torch.cat(pictures, dim=1) if len(pictures) > 1 else pictures[0]
        return to_values(patches, self.config.vision.temporal_patch_size).flatten(0, 1)

    # -- state and action ----------------------------------------------------------------------------------------------

    def _normalisers(self, modality: Modality, statistics: Statistics) -> tuple[Scaler, Scaler]:
        _refuse_crop(modality)
        recipe, head = self.recipe, self.config.action_head
        relative = read_relative(recipe, modality)
        check_keys(recipe, modality, relative)
        check_statistics(statistics, modality, relative)
        self.relative = RelativeActions(relative, modality)
        states = [
            ScaledKey(
                key.dim, key.mode, statistics.state.get(name, {}), recipe.clip_outliers and key.mode != "mean_std"
            )
            for name, key in modality.state.items()
        ]
        actions = [
            ScaledKey(
                key.dim,
                key.normalization,
                (statistics.relative_action if name in relative else statistics.action).get(name, {}),
                recipe.clip_outliers,
            )
            for name, key in modality.action.items()
        ]
        return Scaler(states), Scaler(actions, head.action_horizon)

    def state(self, x: Tensor) -> Tensor:
        """State [N, S], or [N, frames, S] of which the last is the present, -> [N, frames, max_state_dim] float32.

        Raises:
            ValueError: More dimensions than the network takes, others than the modality has, or another number of
                frames than the network takes.
        """
        frames = self.config.action_head.state_history_length
        if x.ndim == 2 and frames == 1:
            x = x.unsqueeze(1)
        if x.ndim != 3 or x.shape[1] != frames:
            raise ValueError(
                f"state is {list(x.shape)}, but the network takes the last {frames} states (state_history_length): "
                f"give [N, {frames}, S]"
            )
        width = self.config.action_head.max_state_dim
        padded = super().state(x.flatten(0, 1)).view(len(x), frames, width)
        return torch.zeros_like(padded) if self.recipe.exclude_state else padded

    def _from_network(self, actions: Tensor, state: Tensor | None) -> Tensor:
        """Scaled back, then taken from the state's frame to the env's."""
        assert self.relative is not None
        return self.relative.to_absolute(super()._from_network(actions, state), state)

    def _to_network(self, actions: Tensor, state: Tensor | None) -> Tensor:
        """Undo :meth:`_from_network`."""
        assert self.relative is not None
        return super()._to_network(self.relative.to_relative(actions, state), state)


def _refuse_crop(modality: Modality) -> None:
    if modality.video_crop != 1:
        raise ValueError(
            f"video_crop is {modality.video_crop}, but GR00T N1.7's {PROCESSOR_FILE} says what is cut off; leave it out"
        )
