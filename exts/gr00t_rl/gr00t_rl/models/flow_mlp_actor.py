# SPDX-License-Identifier: BSD-3-Clause
"""A flow-matching policy over action chunks whose velocity field is an MLP."""

from __future__ import annotations

import math
from typing import Any

import torch
from rsl_rl.modules import MLP, EmpiricalNormalization
from tensordict import TensorDict

from ..flow import VelocityField, VelocityFn, flow_matching_loss, make_head, step_time
from ..options import FlowMlpActorOptions
from ..utils.errors import ConfigurationError
from .export import ExportedPolicy
from .flow_actor import FlowActor

TIME_DIM = 16
"""Width of the sinusoidal encoding of the denoising time."""


class FlowMlpActor(FlowActor):
    """Actor model for rsl_rl that decides as GR00T does, at the size of an MLP: v(x, t, observation).

    For state observations, for benchmarks against published flow policies, and to try heads and settings quickly. Its
    network is meant to be trained first on demonstrations, with :meth:`flow_matching_loss`.

    Args:
        obs: Example observations, batch size [N].
        obs_groups: Names of the observation groups of each set.
        obs_set: The set this model reads; its groups are flat float32 [N, S_i].
        output_dim: Action dimension A of the env.
        **settings: Fields of :class:`~gr00t_rl.options.FlowMlpActorOptions`.

    Raises:
        ConfigurationError: If the settings and the observations do not fit together.
    """

    _frequencies: torch.Tensor

    def __init__(
        self,
        obs: TensorDict,
        obs_groups: dict[str, list[str]],
        obs_set: str,
        output_dim: int,
        **settings: Any,
    ) -> None:
        options = FlowMlpActorOptions.parse(settings, "agent.actor")
        groups = obs_groups[obs_set]
        for group in groups:
            if obs[group].dim() != 2:
                raise ConfigurationError(
                    f"observation group {group!r} is {list(obs[group].shape[1:])}; FlowMlpActor reads flat groups [S]; "
                    "set agent.obs_groups.actor to such groups"
                )
        state_dim, chunk_shape = sum(obs[g].shape[-1] for g in groups), (options.action_horizon, output_dim)
        super().__init__(make_head(options, output_dim, chunk_shape, state_dim), chunk_shape, output_dim, options)
        self.groups, self.state_dim = groups, state_dim
        self.state_normalizer = EmpiricalNormalization(state_dim) if options.obs_normalization else None
        chunk_dim = math.prod(chunk_shape)
        self.network = MLP(chunk_dim + TIME_DIM + state_dim, chunk_dim, options.hidden_dims, options.activation)
        frequencies = torch.logspace(0.0, 1.0, TIME_DIM // 2) * math.pi / 2.0
        self.register_buffer("_frequencies", frequencies, persistent=False)

    # -- the velocity field ----------------------------------------------------------------------------------------

    def latent(self, state: torch.Tensor) -> torch.Tensor:
        """Return the normalised and clipped observation, float32 [B, S], of the concatenated groups [B, S]."""
        return state if self.state_normalizer is None else self.state_normalizer(state).clamp(-10.0, 10.0)

    def velocity(self, x: torch.Tensor, t: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        """Return v(x, t) [B, H, A] at ``x`` [B, H, A] and times ``t`` [B] in [0, 1], for observations [B, S]."""
        angle = t[:, None] * self._frequencies
        return self.network(torch.cat((x.flatten(1), angle.sin(), angle.cos(), latent), dim=-1)).view_as(x)

    def velocity_of(self, latent: torch.Tensor) -> VelocityFn:
        """Return the velocity field of observations [B, S], in the form that the policy heads want."""

        def velocity(x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
            t = step_time(step, self.head.num_steps, x.dtype).flatten()
            repeated = latent.repeat_interleave(step.shape[1], dim=0)
            return self.velocity(x.flatten(0, 1), t, repeated).view_as(x)

        return velocity

    def velocity_of_state(self, state: torch.Tensor) -> VelocityFn:
        """Return the velocity field of unnormalised observations [B, S]."""
        return self.velocity_of(self.latent(state))

    def velocity_field(self, observed: TensorDict) -> VelocityField:
        """Return the velocity field for ``observed`` [B], and the normalised observation as its condition."""
        latent = self.latent(self._state(observed))
        return VelocityField(self.velocity_of(latent), latent)

    def _state(self, obs: TensorDict) -> torch.Tensor:
        return torch.cat([obs[group] for group in self.groups], dim=-1)

    # -- learning --------------------------------------------------------------------------------------------------

    def flow_matching_loss(
        self, obs: TensorDict, actions: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the supervised loss of demonstrated chunks, a scalar; see :func:`gr00t_rl.flow.flow_matching_loss`.

        Args:
            obs: Observations at the decisions, batch size [B].
            actions: The chunks that followed, float32 [B, H, A].
            mask: Which steps of them were demonstrated, bool [B, H]; all where None.
        """
        latent = self.latent(self._state(obs))
        counted = None if mask is None else mask[..., None]
        return flow_matching_loss(lambda x, t: self.velocity(x, t, latent), actions, counted)

    def update_normalization(self, obs: TensorDict) -> None:
        """Update the observation's running moments from a batch of observations."""
        if self.state_normalizer is not None:
            self.state_normalizer.update(self._state(obs))

    def as_onnx(self, verbose: bool = False) -> ExportedPolicy:
        """Return the policy as a module for ONNX export, chunk in one call; see :class:`ExportedPolicy`."""
        return ExportedPolicy(self.copy())
