# SPDX-License-Identifier: BSD-3-Clause
"""N1.5's pictures and prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ..metadata import metadata_with
from ..modality import METADATA_FILE, Modality, Statistics, read_statistics
from ..processor import Gr00tProcessor, UsualEmbodiment
from ..tokenizer import check_image_token
from ..tokens import Grid
from .config import Gr00tN1d5Config
from .prompt import IMAGE_TOKEN, render_prompt

RELEASED_ROWS = {"new_embodiment": 31, "gr1": 24, "oxe_droid": 17, "agibot_genie1": 26}
"""Rows of the per-embodiment weights in the released code (``EMBODIMENT_TAG_MAPPING``)."""
RELEASED_EMBODIMENTS = 32
RELEASED_CROP = 0.95
"""``VideoCrop`` of the released data configs."""


class Gr00tN1d5Processor(Gr00tProcessor):
    """The processor of GR00T N1.5: every picture becomes a square of ``config.vision.image_size`` pixels."""

    config: Gr00tN1d5Config

    @classmethod
    def read_statistics(cls, assets: Mapping[str, bytes], modality: Modality) -> Statistics | None:
        """Statistics of the modality's keys in ``experiment_cfg/metadata.json``; see the base class."""
        _refuse_relative(modality)
        return read_statistics(assets.get(METADATA_FILE), modality)

    @classmethod
    def all_statistics(cls, assets: Mapping[str, bytes]) -> dict[str, Statistics]:
        """All of ``experiment_cfg/metadata.json``; see the base class."""
        content = json.loads(assets.get(METADATA_FILE, b"{}"))
        return {tag: Statistics.from_metadata(content, tag) for tag in content}

    @classmethod
    def with_statistics(
        cls,
        assets: Mapping[str, bytes],
        config: Gr00tN1d5Config,
        modality: Modality,
        statistics: Statistics,
        image_sizes: Mapping[str, tuple[int, int]],
        fps: float,
        embodiment_id: int | None = None,
    ) -> dict[str, bytes]:
        """``assets`` with the embodiment in ``experiment_cfg/metadata.json``; see the base class."""
        metadata = metadata_with(assets.get(METADATA_FILE), modality, statistics, image_sizes, fps)
        return {**assets, METADATA_FILE: metadata}

    @classmethod
    def usual_embodiment(cls, tag: str, embodiments: int) -> UsualEmbodiment:
        """As the released code says of networks of the released size; see the base class."""
        if embodiments != RELEASED_EMBODIMENTS:
            return UsualEmbodiment()
        return UsualEmbodiment(RELEASED_ROWS.get(tag), RELEASED_CROP)

    def _normalisers(self, modality: Modality, statistics: Statistics) -> tuple[nn.Module, nn.Module]:
        _refuse_relative(modality)
        return super()._normalisers(modality, statistics)

    def _grids(self, image_sizes: Sequence[tuple[int, int]] | None) -> tuple[Grid, ...]:
        return (self.config.grid,) * self.num_views

    def _tokens_of(self, grid: Grid) -> int:
        return self.config.tokens_per_image

    def _render(self, tokenizer: PreTrainedTokenizerBase, instruction: str) -> str:
        return render_prompt(tokenizer, instruction, self.num_views, self.config.tokens_per_image)

    def _check_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        remedy = "use the tokenizer assets that belong to this checkpoint"
        check_image_token(tokenizer, IMAGE_TOKEN, self.config.image_token_index, remedy)

    def _join(self, pictures: list[Tensor]) -> Tensor:
        """[N * views, 3, S, S] float32 in [-1, 1], sample-major: the order of image tokens in a batch of prompts."""
        return torch.stack(pictures, dim=1).flatten(0, 1)

    def _image(self, image: Tensor) -> Tensor:
        """Pictures of another size than S are resized without keeping their aspect, bilinearly and antialiased.

        As the released data configs do (``VideoToTensor``, ``VideoResize``, ``VideoToNumpy``): in [0, 1], and rounded
        down to 256 levels.
        """
        size = self.config.vision.image_size
        pixels = image.permute(0, 3, 1, 2).float()  # [N, 3, H, W]
        if pixels.shape[-2:] != (size, size):
            resized = F.interpolate(pixels / 255, (size, size), mode="bilinear", antialias=True)
            pixels = (resized * 255).floor()
        return pixels / 127.5 - 1  # rescale by 1/255, then mean 0.5 and std 0.5


def _refuse_relative(modality: Modality) -> None:
    for name, key in modality.action.items():
        if key.relative_to is not None:
            raise ValueError(
                f"action.{name}.relative_to is {key.relative_to!r}, but GR00T N1.5's actions are absolute; leave it out"
            )
