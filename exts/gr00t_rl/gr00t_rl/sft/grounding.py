# SPDX-License-Identifier: BSD-3-Clause
"""Teach a backbone to see: regression of privileged observations from its features, beside the flow matching.

A demonstrator's action says little of where things are, and says it noisily; the simulator knows, and a few hundred
gradient steps on that are worth thousands on actions (docs/screened.md has the figures). Auxiliary regression of the
state is an old friend of end-to-end visuomotor policies (Levine et al., arXiv 1504.00702, section 5.2, pretrain their
vision so). What regresses is thrown away afterwards; the features stay.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Grounding(nn.Module):
    """Privileged observations, told from the action head's view of the backbone and the robot's own state.

    Learned queries attend to the feature tokens, and a small MLP reads what they found. The state is given because a
    camera on the hand sees things relative to it.

    Args:
        target: Privileged observations of all frames [F, P], in the env's units; NaN where a frame has none.
        feature_dim: Width D of the features.
        state_dim: Width S of the padded state.
        weight: Of the error in what is minimised.
        num_queries: Queries Q.
        hidden_dim: Width of the MLP.
    """

    target: Tensor

    def __init__(
        self,
        target: Tensor,
        feature_dim: int,
        state_dim: int,
        weight: float,
        num_queries: int = 8,
        hidden_dim: int = 128,
    ):
        super().__init__()
        self.weight = weight
        mean = target.nanmean(0)
        # one unit for all: what hardly varies is not blown up
        self.unit = float((target - mean).square().nanmean().sqrt().clamp_min(1e-6))
        self.register_buffer("target", (target - mean) / self.unit, persistent=False)  # [F, P]
        self.queries = nn.Parameter(torch.randn(num_queries, feature_dim) * feature_dim**-0.5)
        self.readout = nn.Sequential(
            nn.Linear(num_queries * feature_dim + state_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, target.shape[1]),
        )

    def forward(self, features: Tensor, state: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalised privileged observations [B, P].

        Args:
            features: As the action head attends to them [B, T, D].
            state: Normalised, padded [B, 1, S].
            mask: Which tokens are no padding, bool [B, T]; all where None.
        """
        scores = features @ self.queries.T  # [B, T, Q]
        if mask is not None:
            scores = scores.masked_fill(~mask[..., None], -torch.inf)
        found = scores.softmax(1).transpose(1, 2) @ features  # [B, Q, D]
        return self.readout(torch.cat((found.flatten(1), state.flatten(1)), dim=-1))

    def errors(
        self, frames: Tensor, features: Tensor, state: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Squared errors [B, P] for ``frames`` [B], and which of them count, bool [B, P]; the others are 0.

        1 is the variance of the targets, whose unit is common. What has no target does not count.
        """
        target = self.target[frames]
        known, told = ~target.isnan(), self(features, state, mask).float()
        return (told - torch.where(known, target, told)).square(), known
