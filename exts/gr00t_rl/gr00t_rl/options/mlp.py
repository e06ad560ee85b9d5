# SPDX-License-Identifier: BSD-3-Clause
"""Options of MLP actors and of critics, rsl_rl's and ours: ``agent.actor.*`` and ``agent.critic.*``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .base import Options
from .declaration import Relation, option

ACTIVATIONS = (
    "elu", "selu", "relu", "crelu", "lrelu", "tanh", "sigmoid", "softplus", "gelu", "swish", "mish", "identity",
)  # fmt: skip
"""Names that rsl_rl knows (``rsl_rl.utils.resolve_nn_activation``)."""


@dataclass
class MlpOptions(Options):
    """rsl_rl's ``MLPModel``."""

    hidden_dims: list[int] = option([256, 256, 256], "Widths of the hidden layers.", low=1, least=1)
    activation: str = option("elu", "Activation of the hidden layers.", choices=ACTIVATIONS)
    obs_normalization: bool = option(False, "Normalise the observation by its running moments.")
    distribution_cfg: dict[str, Any] | None = option(
        None, "The policy's distribution: class_name and its options; null for a critic."
    )


@dataclass
class OrthogonalMlpOptions(MlpOptions):
    """``OrthogonalMLPModel``: orthogonal initialisation and clipped observations (details 2 and 29 of PPO)."""

    hidden_dims: list[int] = option([128, 128], "Widths of the hidden layers.", low=1, least=1)
    activation: str = "tanh"
    obs_normalization: bool = True
    output_gain: float = option(1.0, "Gain of the last layer: 0.01 for a policy, 1 for a value.", above=0)
    obs_clip: float = option(10.0, "Bound of the normalised observations.", above=0, infinite=True)


@dataclass
class RnnOptions(MlpOptions):
    """rsl_rl's ``RNNModel``: one step per decision."""

    rnn_type: str = option("lstm", "Kind of recurrent layer.", choices=("lstm", "gru"))
    rnn_hidden_dim: int = option(256, "Width of the recurrent layers.", low=1)
    rnn_num_layers: int = option(1, "Number of recurrent layers.", low=1)


@dataclass
class OrthogonalRnnOptions(OrthogonalMlpOptions, RnnOptions):
    """``OrthogonalRNNModel``: orthogonal initialisation of recurrent layers too (detail 32 of PPO)."""


@dataclass
class FeatureCriticOptions(MlpOptions):
    """``Gr00tFeatureCritic``: an MLP on the actor's cached features, for robots without privileged state."""

    hidden_dims: list[int] = option([256, 256], "Widths of the hidden layers.", low=1, least=1)
    obs_normalization: bool = True


@dataclass
class GaussianOptions(Options):
    """rsl_rl's ``GaussianDistribution`` and ``HeteroscedasticGaussianDistribution``."""

    init_std: float = option(1.0, "Initial standard deviation.", above=0)
    std_type: str = option(
        "scalar", "What is learned: the deviation itself or its logarithm.", choices=("scalar", "log")
    )
    std_range: tuple[float, float] = option((1e-6, 1e6), "Bounds of the standard deviation.", low=0, least=2)

    @classmethod
    def relations(cls) -> tuple[Relation, ...]:
        return (
            *super().relations(),
            Relation("std_range", lambda o: o.std_range[0] < o.std_range[1], "a lower and a larger upper bound"),
        )
