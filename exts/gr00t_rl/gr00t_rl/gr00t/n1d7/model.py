# SPDX-License-Identifier: BSD-3-Clause
"""GR00T N1.7: the Qwen3-VL backbone, and the action head whose blocks see text and pictures in turn.

Written from the published facts of NVIDIA's Isaac-GR00T N1.7 release.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from ..action_head import ActionHead
from ..checkpoint import TOKENIZER_FILES, Layout
from ..network import Gr00tNetwork
from ..tokens import Grid, Prompt, TokenKinds
from .backbone import Backbone
from .config import Gr00tN1d7Config

LAYOUT = Layout(
    generation="GR00T N1.7",
    assets=(
        "processor_config.json",
        "statistics.json",
        "embodiment_id.json",
        *TOKENIZER_FILES,
        "preprocessor_config.json",
        "video_preprocessor_config.json",
    ),
    sizes=Gr00tN1d7Config.files,
    renamed=(
        ("backbone.model.model.visual.", "backbone.visual.model."),
        ("backbone.model.model.language_model.", "backbone.language_model.model."),
    ),
    tied={"backbone.model.lm_head.weight": "backbone.language_model.model.embed_tokens.weight"},
)


class Gr00tN1d7(Gr00tNetwork):
    """GR00T N1.7."""

    config_class = Gr00tN1d7Config
    backbone_class = Backbone
    layout: ClassVar[Layout] = LAYOUT
    large: ClassVar[tuple[type[nn.Module], ...]] = (Backbone, ActionHead)
    config: Gr00tN1d7Config
    backbone: Backbone

    def read_inputs(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor | None, Prompt]:
        """``input_ids`` [B, T], ``attention_mask`` [B, T] (optional), and, both or none of them, ``pixel_values``
        [patches, 3 * frames * patch^2], sample-major, and ``image_grid_thw`` [B * views, 3], for which the host waits.

        Raises:
            ValueError: pictures of other sizes in one sample than in another.
        """
        ids, pixels = inputs["input_ids"], inputs.get("pixel_values")
        grids = () if pixels is None else _grids_of_a_sample(inputs["image_grid_thw"], len(ids))
        return pixels, Prompt(ids, inputs.get("attention_mask"), grids=grids)

    def token_kinds(self, prompt: Prompt) -> TokenKinds:
        """Which of a prompt's tokens are pictures; waits for the device.

        Raises:
            ValueError: samples with different numbers of image tokens.
        """
        return TokenKinds.of(self.backbone.is_image(prompt.input_ids))


def _grids_of_a_sample(image_grid_thw: Tensor, samples: int) -> tuple[Grid, ...]:
    """Rows of ``image_grid_thw``, sample-major, as the grids that every sample has."""
    grids = [(int(t), int(h), int(w)) for t, h, w in image_grid_thw.tolist()]
    first = tuple(grids[: len(grids) // samples])
    if list(first) * samples != grids:
        raise ValueError(
            f"image_grid_thw is {grids}, not the same pictures for each of {samples} samples: give samples of other "
            "pictures in calls of their own"
        )
    return first
