# SPDX-License-Identifier: BSD-3-Clause
"""Pictures and prompt to what the action head attends to, in two halves: the frozen one is kept, the other learns."""

from __future__ import annotations

from collections.abc import Collection

import torch

from ..gr00t import Gr00tNetwork, Gr00tProcessor

STAGES = ("vision", "mlp1", "llm", "vl")
"""What runs before the action head's DiT, in order; "vl" is ``vlln`` and ``vl_self_attention``."""


def first_trained_stage(trained_parts: Collection[str]) -> int:
    """Return the number of the first stage that learns; ``len(STAGES)`` where none does."""
    of_parts = {"vlln": "vl", "vl_self_attention": "vl"}
    stages = {of_parts.get(part, part) for part in trained_parts}
    return next((i for i, stage in enumerate(STAGES) if stage in stages), len(STAGES))


class FeatureEncoder:
    """Runs the stages, cut where the first trained one begins.

    What :meth:`frozen` returns of a decision never changes, so that it can be kept until the update; :meth:`trained`
    makes the features of it under the present weights, differentiably.

    Args:
        model: The network.
        processor: Knows the prompts.
        dtype: Type in which the frozen stages run.
        boundary: Number of the first trained stage, see :func:`first_trained_stage`.
    """

    def __init__(self, model: Gr00tNetwork, processor: Gr00tProcessor, dtype: torch.dtype, boundary: int) -> None:
        self.model, self.processor, self.dtype, self.boundary = model, processor, dtype, boundary

    @property
    def width(self) -> int:
        """Width of what is kept of a decision; 0 where nothing but the pictures themselves can be."""
        by_stage = (0, *self.model.backbone.kept_widths)
        return by_stage[self.boundary] if self.boundary < len(by_stage) else self.model.config.feature_dim

    @torch.no_grad()
    def frozen(self, pixels: torch.Tensor | None, rows: int | torch.Tensor) -> torch.Tensor | None:
        """Run the stages before the boundary.

        Args:
            pixels: What the processor's ``images`` returns for B samples; None without cameras.
            rows: The number of each sample's prompt, int64 [B], or B where there is one.

        Returns:
            [B, T, width] in the compute dtype, T the prompt's tokens or, before the language model, the pictures'.
            The pixels where all stages learn; None where nothing is frozen that there is an input for.
        """
        x = self._run(None if pixels is None else pixels.to(self.dtype), rows, 0, self.boundary)
        # a critic that averages features must not see the padding's
        mask = self.processor.token_mask(rows) if self.boundary > STAGES.index("llm") else None
        return x if x is None or mask is None else x * mask[..., None]

    def trained(self, kept: torch.Tensor | None, rows: int | torch.Tensor) -> torch.Tensor:
        """Run the stages from the boundary on what :meth:`frozen` returned: features [B, T, D]; differentiable."""
        features = self._run(kept, rows, self.boundary, len(STAGES))
        assert features is not None
        return features

    def _run(self, x: torch.Tensor | None, rows: int | torch.Tensor, first: int, end: int) -> torch.Tensor | None:
        backbone, head = self.model.backbone, self.model.action_head
        for stage in STAGES[first:end]:
            if stage == "vision" and x is not None:
                x = backbone.vision(x, self.processor.grids)  # [B, n, W]
            elif stage == "mlp1" and x is not None:
                x = backbone.project(x)
            elif stage == "llm":
                # padding stands on the right, where the causal language model needs no mask to keep it from the tokens
                x = backbone.read(self.processor.prompt(rows), x)
            elif stage == "vl":
                assert x is not None
                x = head.vl_self_attention(head.vlln(x.to(self.dtype)), self.processor.token_mask(rows))
        return x
