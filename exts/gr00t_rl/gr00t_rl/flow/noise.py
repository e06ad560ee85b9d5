# SPDX-License-Identifier: BSD-3-Clause
"""Flow-Noise: learned, bounded noise on every denoising step (ReinFlow, arXiv 2505.22094; pi_RL, arXiv 2510.25889)."""

from __future__ import annotations

import math

import torch
from torch import nn

from .heads import FlowHead, FlowSample, Transitions, VelocityFn


class NoiseNet(nn.Module):
    """A small MLP that gives the standard deviation of every number of the next state.

    Each row of the chunk is read by itself, with the denoising step, its place in the chunk and the condition. The
    first layer is linear in the concatenation of those, written as a sum, so that the condition is projected once per
    decision and not once per row and step.

    Args:
        chunk_shape: (H, A) of the states.
        condition_dim: Width C of the condition.
        num_steps: Number of denoising steps K.
        hidden_dim: Width of the two hidden layers.
        sigma_min: Lower bound of the standard deviation.
        sigma_max: Upper bound of the standard deviation.
    """

    def __init__(
        self,
        chunk_shape: tuple[int, int],
        condition_dim: int,
        num_steps: int,
        hidden_dim: int,
        sigma_min: float,
        sigma_max: float,
    ) -> None:
        super().__init__()
        horizon, action_dim = chunk_shape
        self.log_bounds = (math.log(sigma_min), math.log(sigma_max))
        self.from_state = nn.Linear(action_dim, hidden_dim)
        self.from_condition = nn.Linear(condition_dim, hidden_dim, bias=False)
        self.from_step = nn.Embedding(num_steps, hidden_dim)
        self.from_position = nn.Embedding(horizon, hidden_dim)
        self.hidden = nn.Linear(hidden_dim, hidden_dim)
        self.output = nn.Linear(hidden_dim, action_dim)
        # the chain starts with one and the same noise everywhere, the geometric mean of the bounds
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: torch.Tensor, step: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Return the standard deviations in [sigma_min, sigma_max].

        Args:
            x: States left, float32 [B, M, H, A].
            step: Denoising steps, int64 [B, M].
            condition: What the decision is based on, float32 [B, C].

        Returns:
            float32 [B, M, H, A].
        """
        hidden = self.from_state(x) + self.from_condition(condition)[:, None, None]
        hidden = torch.tanh(hidden + self.from_step(step)[:, :, None] + self.from_position.weight)
        share = 0.5 * (1.0 + torch.tanh(self.output(torch.tanh(self.hidden(hidden)))))
        low, high = self.log_bounds
        return torch.exp(low + (high - low) * share)


class FlowNoise(FlowHead):
    """Flow-Noise: x_{k+1} ~ N(x_k + v / K, sigma^2) on every step, with a learned sigma(x_k, k, condition).

    The chain is a discrete Markov process, so that the sum over its K transitions is its exact log-probability (the
    density of the initial noise does not depend on the weights and is left out). Evaluation drops the noise and
    integrates the ODE. The published settings bound sigma by 0.10 and 0.24 for Hopper, 0.08 and 0.16 for Ant.

    Args:
        num_steps: Number of denoising steps K.
        chunk_shape: (H, A) of the states.
        condition_dim: Width C of the condition.
        sigma_min: Lower bound of sigma.
        sigma_max: Upper bound of sigma.
        hidden_dim: Width of the noise network's two hidden layers.

    Raises:
        ValueError: If the bounds are not 0 < sigma_min <= sigma_max.
    """

    noise: NoiseNet
    _mean_std: torch.Tensor

    def __init__(
        self,
        num_steps: int,
        chunk_shape: tuple[int, int],
        condition_dim: int,
        sigma_min: float,
        sigma_max: float,
        hidden_dim: int = 64,
    ) -> None:
        super().__init__(num_steps)
        if not 0.0 < sigma_min <= sigma_max:
            raise ValueError(f"sigma_min is {sigma_min} and sigma_max {sigma_max}; set 0 < sigma_min <= sigma_max")
        self.noise = NoiseNet(chunk_shape, condition_dim, num_steps, hidden_dim, sigma_min, sigma_max)
        self.register_buffer("_mean_std", torch.full((num_steps,), math.sqrt(sigma_min * sigma_max)), persistent=False)

    def transition(
        self, velocity: VelocityFn, x: torch.Tensor, step: torch.Tensor, condition: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (mean, std), each [B, M, H, A], of the step from ``x`` [B, M, H, A] at ``step`` [B, M].

        The noise's gradient stops at the condition, which the velocity's network owns: only the noise network learns
        sigma.
        """
        if condition is None:
            raise ValueError("flow_noise needs a condition [B, C]; pass the velocity field's")
        return x + velocity(x, step) / self.num_steps, self.noise(x, step, condition.detach())

    def sample(self, velocity: VelocityFn, x0: torch.Tensor, condition: torch.Tensor | None = None) -> FlowSample:
        """Sample a chain of K random steps."""
        x, visited = x0.unsqueeze(1), []
        for k in range(self.num_steps):
            step = torch.full((x0.shape[0], 1), k, dtype=torch.long, device=x0.device)
            mean, std = self.transition(velocity, x, step, condition)
            x_next = mean + std * torch.randn_like(mean)
            visited.append((x, x_next, step, mean, std))
            x = x_next
        x_all, next_all, step_all, mean_all, std_all = (torch.cat(part, dim=1) for part in zip(*visited, strict=True))
        self._mean_std.copy_(std_all.detach().mean((0, 2, 3)))
        return FlowSample(x.squeeze(1), Transitions(x_all, next_all, step_all), mean_all, std_all)

    def distribution(
        self, velocity: VelocityFn, transitions: Transitions, condition: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Score the stored transitions with one batched evaluation of the field and one of the noise network."""
        return self.transition(velocity, transitions.x, transitions.step, condition)

    def std_summary(self) -> torch.Tensor:
        """Return the mean standard deviation of each step in the latest sample, [K]."""
        return self._mean_std
