# SPDX-License-Identifier: BSD-3-Clause
"""Critics beside rsl_rl's own: the usual choice is its MLP on privileged simulator state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from rsl_rl.modules import MLP, EmpiricalNormalization
from tensordict import TensorDict
from torch import nn

from ..options import FeatureCriticOptions
from ..utils.errors import ConfigurationError


class Gr00tFeatureCritic(nn.Module):
    """Value of the actor's frozen vision-language features and the state, for robots without privileged state.

    The features [B, T, D] are averaged over the tokens and concatenated with the state groups of the critic's set.
    They are those that the actor caches per decision, so that the critic costs one MLP.

    Args:
        obs: Example observations, batch size [N].
        obs_groups: Names of the observation groups of each set.
        obs_set: The set this model reads; its image groups are seen through the actor's features.
        output_dim: 1.
        feature_dim: Width D of the features.
        **settings: Fields of :class:`~gr00t_rl.options.FeatureCriticOptions`.

    Raises:
        ConfigurationError: If the actor sees no images.
    """

    is_recurrent = False
    reads_features = True
    """Algorithms must hand over observations that went through the actor's ``observe``."""

    def __init__(
        self,
        obs: TensorDict,
        obs_groups: dict[str, list[str]],
        obs_set: str,
        output_dim: int,
        feature_dim: int,
        **settings: Any,
    ) -> None:
        o = FeatureCriticOptions.parse(settings, "agent.critic")
        super().__init__()
        if not any(obs[g].dim() == 4 for g in obs_groups["actor"]):
            raise ConfigurationError(
                "Gr00tFeatureCritic needs camera images, but the actor reads "
                f"{obs_groups['actor']}; use a -Camera task or agent.critic.class_name=MLPModel"
            )
        self.state_groups = [g for g in obs_groups[obs_set] if obs[g].dim() == 2]
        width = feature_dim + sum(obs[g].shape[-1] for g in self.state_groups)
        self.normalizer = EmpiricalNormalization(width) if o.obs_normalization else None
        self.mlp = MLP(width, output_dim, o.hidden_dims, o.activation)

    def _latent(self, observed: TensorDict) -> torch.Tensor:
        pooled = observed["features"].mean(dim=1, dtype=torch.float32)
        return torch.cat([pooled, *(observed[g] for g in self.state_groups)], dim=-1)

    def forward(
        self, obs: TensorDict, masks: None = None, hidden_state: None = None, stochastic_output: bool = False
    ) -> torch.Tensor:
        """Return values [B, 1] of observations that hold "features" [B, T, D]."""
        latent = self._latent(obs)
        return self.mlp(latent if self.normalizer is None else self.normalizer(latent))

    def update_normalization(self, obs: TensorDict | Iterable[TensorDict]) -> None:
        """Update the running moments by a batch, or by one that comes in pieces: they count as one batch."""
        if self.normalizer is not None:
            pieces = (obs,) if isinstance(obs, TensorDict) else obs
            self.normalizer.update(torch.cat([self._latent(piece) for piece in pieces]))

    def reset(self, dones: torch.Tensor | None = None, hidden_state: None = None) -> None:
        """Do nothing: the model has no state."""

    def get_hidden_state(self) -> None:
        """Return None: the model has no state."""
