# SPDX-License-Identifier: BSD-3-Clause
"""rsl_rl's MLP and RNN with the initialisation and the observation clipping that PPO's details ask for."""

from __future__ import annotations

import math
from typing import Any

import torch
from rsl_rl.models import MLPModel, RNNModel
from rsl_rl.modules import HiddenState
from rsl_rl.modules.distribution import Distribution
from tensordict import TensorDict

from ..options import OrthogonalMlpOptions, OrthogonalRnnOptions


class OrthogonalMLPModel(MLPModel):
    """:class:`rsl_rl.models.MLPModel` with orthogonal weights, zero biases, and clipped normalised observations.

    Details 2 and 29 of "The 37 implementation details of PPO": gain sqrt(2) in hidden layers, ``output_gain`` in the
    last (0.01 for a policy, 1 for a value), and observations clipped after their normalisation.

    Args:
        obs: See :class:`rsl_rl.models.MLPModel`.
        obs_groups: See :class:`rsl_rl.models.MLPModel`.
        obs_set: See :class:`rsl_rl.models.MLPModel`.
        output_dim: See :class:`rsl_rl.models.MLPModel`.
        **settings: Fields of :class:`~gr00t_rl.options.OrthogonalMlpOptions`.
    """

    def __init__(
        self, obs: TensorDict, obs_groups: dict[str, list[str]], obs_set: str, output_dim: int, **settings: Any
    ) -> None:
        o = OrthogonalMlpOptions.parse(settings, f"agent.{obs_set}")
        super().__init__(
            obs,
            obs_groups,
            obs_set,
            output_dim,
            hidden_dims=o.hidden_dims,
            activation=o.activation,
            obs_normalization=o.obs_normalization,
            distribution_cfg=o.distribution_cfg,
        )
        self.obs_clip = o.obs_clip
        _make_orthogonal(self.mlp, o.output_gain, self.distribution)

    def get_latent(
        self, obs: TensorDict, masks: torch.Tensor | None = None, hidden_state: HiddenState = None
    ) -> torch.Tensor:
        """Concatenate, normalise and clip the observation groups."""
        return super().get_latent(obs, masks, hidden_state).clamp(-self.obs_clip, self.obs_clip)

    def as_jit(self) -> torch.nn.Module:
        """Return the exportable model; it clips like this one."""
        return _clipped(super().as_jit(), self.obs_clip)

    def as_onnx(self, verbose: bool) -> torch.nn.Module:
        """Return the exportable model; it clips like this one."""
        return _clipped(super().as_onnx(verbose), self.obs_clip)


class OrthogonalRNNModel(RNNModel):
    """:class:`rsl_rl.models.RNNModel` with what :class:`OrthogonalMLPModel` has, in its recurrent layers too.

    Detail 32 of "The 37 implementation details of PPO": gain 1 for each recurrent weight matrix, all gates together,
    and zero biases. Observations are normalised and clipped before the recurrent layers.

    Args:
        obs: See :class:`rsl_rl.models.RNNModel`.
        obs_groups: See :class:`rsl_rl.models.RNNModel`.
        obs_set: See :class:`rsl_rl.models.RNNModel`.
        output_dim: See :class:`rsl_rl.models.RNNModel`.
        **settings: Fields of :class:`~gr00t_rl.options.OrthogonalRnnOptions`.
    """

    def __init__(
        self, obs: TensorDict, obs_groups: dict[str, list[str]], obs_set: str, output_dim: int, **settings: Any
    ) -> None:
        o = OrthogonalRnnOptions.parse(settings, f"agent.{obs_set}")
        super().__init__(
            obs,
            obs_groups,
            obs_set,
            output_dim,
            hidden_dims=o.hidden_dims,
            activation=o.activation,
            obs_normalization=o.obs_normalization,
            distribution_cfg=o.distribution_cfg,
            rnn_type=o.rnn_type,
            rnn_hidden_dim=o.rnn_hidden_dim,
            rnn_num_layers=o.rnn_num_layers,
        )
        self.obs_clip = o.obs_clip
        _make_orthogonal(self.mlp, o.output_gain, self.distribution)
        for name, parameter in self.rnn.rnn.named_parameters():
            if "weight" in name:
                torch.nn.init.orthogonal_(parameter, 1.0)
            else:
                torch.nn.init.zeros_(parameter)

    def get_latent(
        self, obs: TensorDict, masks: torch.Tensor | None = None, hidden_state: HiddenState = None
    ) -> torch.Tensor:
        """Concatenate, normalise and clip the observation groups, and pass them through the recurrent layers."""
        clipped = MLPModel.get_latent(self, obs).clamp(-self.obs_clip, self.obs_clip)
        return self.rnn(clipped, masks, hidden_state).squeeze(0)

    def as_jit(self) -> torch.nn.Module:
        """Return the exportable model; it clips like this one."""
        return _clipped(super().as_jit(), self.obs_clip)

    def as_onnx(self, verbose: bool = False) -> torch.nn.Module:
        """Return the exportable model; it clips like this one."""
        return _clipped(super().as_onnx(verbose), self.obs_clip)


def _make_orthogonal(mlp: torch.nn.Sequential, output_gain: float, distribution: Distribution | None) -> None:
    """Initialise an MLP: gain sqrt(2) in hidden layers, ``output_gain`` in the last; biases are zero.

    What a distribution wants of outputs other than the mean, such as a standard deviation of ``init_std``, comes last.
    """
    linear = [m for m in mlp if isinstance(m, torch.nn.Linear)]
    for layer in linear:
        torch.nn.init.orthogonal_(layer.weight, output_gain if layer is linear[-1] else math.sqrt(2.0))
        torch.nn.init.zeros_(layer.bias)
    if distribution is not None:
        distribution.init_mlp_weights(mlp)


class _ClippedNormalizer(torch.nn.Module):
    def __init__(self, normalizer: torch.nn.Module, bound: float) -> None:
        super().__init__()
        self.normalizer = normalizer
        self.bound = bound

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.normalizer(x).clamp(-self.bound, self.bound)


def _clipped(model: torch.nn.Module, bound: float) -> torch.nn.Module:
    """Clip after the normaliser of one of rsl_rl's export modules."""
    model.obs_normalizer = _ClippedNormalizer(model.get_submodule("obs_normalizer"), bound)
    return model
