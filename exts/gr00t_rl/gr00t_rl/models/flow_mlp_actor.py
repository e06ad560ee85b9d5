# SPDX-License-Identifier: BSD-3-Clause
"""A flow-matching policy over action chunks whose velocity field is an MLP."""

from __future__ import annotations

import math

import torch
from rsl_rl.modules import MLP, EmpiricalNormalization
from tensordict import TensorDict

from ..flow import VelocityField, VelocityFn, flow_matching_loss, make_head, step_time
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
        hidden_dims: Widths of the hidden layers.
        activation: Activation of the hidden layers.
        action_horizon: Actions of a chunk, H.
        n_action_steps: Actions of a chunk that are executed before the next decision.
        head: "flow_sde", "gaussian" or "flow_noise", see :mod:`gr00t_rl.flow`.
        num_inference_timesteps: Denoising steps K.
        noise_level: Level a of the SDE's noise (``flow_sde``).
        stochastic_steps: "one" random denoising step per decision or "all" of them (``flow_sde``).
        init_std: Initial standard deviation (``gaussian``).
        sigma_min: Lower bound of the learned noise (``flow_noise``).
        sigma_max: Upper bound of the learned noise (``flow_noise``).
        init_noise_scale: Scale of the initial noise x_0, in rollout and evaluation: 1 as trained, 0 deterministic.
        log_prob_over: "executed" or "chain", see :class:`FlowActor`.
        align_decisions: Whether all envs decide at the same steps, see :class:`FlowActor`.
        obs_normalization: Whether to normalise the observation by its running moments.
        distribution_cfg: Not used; rsl_rl's tooling passes it to every model.

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
        hidden_dims: tuple[int, ...] | list[int] = (256, 256, 256),
        activation: str = "mish",
        action_horizon: int = 8,
        n_action_steps: int = 8,
        head: str = "flow_sde",
        num_inference_timesteps: int = 4,
        noise_level: float = 0.5,
        stochastic_steps: str = "one",
        init_std: float = 0.3,
        sigma_min: float = 0.05,
        sigma_max: float = 0.2,
        init_noise_scale: float = 1.0,
        log_prob_over: str = "executed",
        align_decisions: bool = False,
        obs_normalization: bool = True,
        distribution_cfg: None = None,
    ) -> None:
        if not 0 < n_action_steps <= action_horizon:
            raise ConfigurationError(
                f"n_action_steps is {n_action_steps}, but the action horizon is {action_horizon}; set a value from 1 "
                f"to {action_horizon}"
            )
        groups = obs_groups[obs_set]
        for group in groups:
            if obs[group].dim() != 2:
                raise ConfigurationError(
                    f"observation group {group!r} is {list(obs[group].shape[1:])}; FlowMlpActor reads flat groups [S]"
                )
        state_dim, chunk_shape = sum(obs[g].shape[-1] for g in groups), (action_horizon, output_dim)
        policy_head = make_head(
            head,
            num_inference_timesteps,
            output_dim,
            noise_level,
            stochastic_steps,
            init_std,
            sigma_min,
            sigma_max,
            chunk_shape,
            state_dim,
        )
        super().__init__(
            policy_head, chunk_shape, output_dim, n_action_steps, init_noise_scale, log_prob_over, align_decisions
        )
        self.groups, self.state_dim = groups, state_dim
        self.state_normalizer = EmpiricalNormalization(state_dim) if obs_normalization else None
        chunk_dim = action_horizon * output_dim
        self.network = MLP(chunk_dim + TIME_DIM + state_dim, chunk_dim, hidden_dims, activation)
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
        return ExportedPolicy(self)
