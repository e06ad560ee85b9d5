# SPDX-License-Identifier: BSD-3-Clause
"""The table of heads."""

from __future__ import annotations

from .heads import FlowHead, FlowSde, GaussianHead
from .noise import FlowNoise


def make_head(
    name: str,
    num_steps: int,
    action_dim: int,
    noise_level: float,
    stochastic_steps: str,
    init_std: float,
    sigma_min: float = 0.05,
    sigma_max: float = 0.2,
    chunk_shape: tuple[int, int] | None = None,
    condition_dim: int = 0,
) -> FlowHead:
    """Build a head by name.

    Args:
        name: "flow_sde", "gaussian" or "flow_noise".
        num_steps: Number of denoising steps K.
        action_dim: Number of real action dimensions (``gaussian``).
        noise_level: The level a (``flow_sde``).
        stochastic_steps: "one" or "all" (``flow_sde``).
        init_std: Initial standard deviation (``gaussian``).
        sigma_min: Lower bound of the learned noise (``flow_noise``).
        sigma_max: Upper bound of the learned noise (``flow_noise``).
        chunk_shape: (H, A) of the chain's states (``flow_noise``).
        condition_dim: Width of the velocity field's condition (``flow_noise``).

    Raises:
        ValueError: An unknown name, or a setting that the head cannot work with.
    """
    if name == "flow_sde":
        if stochastic_steps not in ("one", "all"):
            raise ValueError(f"stochastic_steps is {stochastic_steps!r}; set 'one' or 'all'")
        return FlowSde(num_steps, noise_level, stochastic_steps)
    if name == "gaussian":
        return GaussianHead(num_steps, action_dim, init_std)
    if name == "flow_noise":
        if chunk_shape is None or condition_dim < 1:
            raise ValueError("flow_noise needs the shape of the chunk and the width of the condition")
        return FlowNoise(num_steps, chunk_shape, condition_dim, sigma_min, sigma_max)
    raise ValueError(f"head is {name!r}; set 'flow_sde', 'gaussian' or 'flow_noise'")
