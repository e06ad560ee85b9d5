# SPDX-License-Identifier: BSD-3-Clause
"""GR00T N1.5: the Eagle backbone and the action head with future tokens.

Written from the published facts of NVIDIA's Isaac-GR00T N1.5 release.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from ..action_head import ActionHead
from ..checkpoint import TOKENIZER_FILES, Layout
from ..modality import METADATA_FILE
from ..network import Gr00tNetwork
from ..tokens import Prompt
from .backbone import Backbone, EagleModel
from .config import Gr00tN1d5Config

_VISION = "backbone.eagle_model.vision_model."
_LANGUAGE = "backbone.eagle_model.language_model."
LAYOUT = Layout(
    generation="GR00T N1.5",
    assets=(METADATA_FILE, *TOKENIZER_FILES, "preprocessor_config.json", "processor_config.json"),
    sizes=Gr00tN1d5Config.files,
    # transformers 4 wrote "vision_model.vision_model.", 5 says it once
    renamed=((_VISION + "vision_model.", _VISION),),
    tied={_LANGUAGE + "lm_head.weight": _LANGUAGE + "model.embed_tokens.weight"},
    writes_tied=True,
)


class Gr00tN1d5(Gr00tNetwork):
    """GR00T N1.5."""

    config_class = Gr00tN1d5Config
    backbone_class = Backbone
    layout: ClassVar[Layout] = LAYOUT
    large: ClassVar[tuple[type[nn.Module], ...]] = (EagleModel, ActionHead)
    config: Gr00tN1d5Config
    backbone: Backbone

    def read_inputs(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor | None, Prompt]:
        """``eagle_pixel_values`` [B * views, 3, S, S] in [-1, 1], sample-major (optional), ``eagle_input_ids`` [B, T],
        and ``eagle_attention_mask`` [B, T] (optional).
        """
        pixels, ids = inputs.get("eagle_pixel_values"), inputs["eagle_input_ids"]
        views = 0 if pixels is None else len(pixels) // len(ids)
        return pixels, Prompt(ids, inputs.get("eagle_attention_mask"), grids=(self.config.grid,) * views)
