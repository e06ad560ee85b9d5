# SPDX-License-Identifier: BSD-3-Clause
"""The table of heads."""

from __future__ import annotations

from ..options import HeadOptions
from .correlation import NoiseCorrelation
from .heads import FlowHead, FlowSde, GaussianHead
from .noise import FlowNoise


def make_head(options: HeadOptions, action_dim: int, chunk_shape: tuple[int, int], condition_dim: int) -> FlowHead:
    """Build the head that the options name.

    Args:
        options: The head and its settings.
        action_dim: Number of real action dimensions (``gaussian``).
        chunk_shape: (H, A) of the chain's states.
        condition_dim: Width of the velocity field's condition (``flow_noise``).

    Raises:
        ConfigurationError: If an option cannot work.
    """
    o, num_steps = HeadOptions.parse(options, "agent.actor"), options.num_inference_timesteps
    if o.head == "flow_noise":
        return FlowNoise(num_steps, chunk_shape, condition_dim, o.sigma_min, o.sigma_max)
    correlation = NoiseCorrelation(chunk_shape[0], o.noise_correlation)
    if o.head == "flow_sde":
        return FlowSde(num_steps, o.noise_level, o.stochastic_steps, o.first_step_noise, correlation)
    return GaussianHead(num_steps, action_dim, o.init_std, correlation)
