# SPDX-License-Identifier: BSD-3-Clause
"""rsl_rl's MLP with the initialisation and the observation clipping that PPO's details ask for."""

from __future__ import annotations

import math
from typing import Any

import torch
from rsl_rl.models import MLPModel
from rsl_rl.modules import HiddenState
from tensordict import TensorDict


class OrthogonalMLPModel(MLPModel):
    """:class:`rsl_rl.models.MLPModel` with orthogonal weights, zero biases, and clipped normalised observations.

    Details 2 and 29 of "The 37 implementation details of PPO": gain sqrt(2) in hidden layers, ``output_gain`` in the
    last (0.01 for a policy, 1 for a value), and observations clipped after their normalisation.

    Args:
        *args: See :class:`rsl_rl.models.MLPModel`.
        output_gain: Gain of the last layer.
        obs_clip: Bound of the normalised observations.
        **kwargs: See :class:`rsl_rl.models.MLPModel`.
    """

    def __init__(self, *args: Any, output_gain: float = 1.0, obs_clip: float = 10.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.obs_clip = obs_clip
        linear = [m for m in self.mlp if isinstance(m, torch.nn.Linear)]
        for layer in linear:
            torch.nn.init.orthogonal_(layer.weight, output_gain if layer is linear[-1] else math.sqrt(2.0))
            torch.nn.init.zeros_(layer.bias)

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
