# SPDX-License-Identifier: BSD-3-Clause
"""Policy heads: how a velocity field becomes a distribution over action chunks.

A head samples a denoising chain and says which of its transitions were random and how they were distributed. Scoring
a stored chain evaluates the same expression at the same stored states, so that sampling and scoring cannot disagree.
Heads know the velocity field as a function only, never a network; a head whose noise depends on the observation is
given the field's condition vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from .correlation import NoiseCorrelation
from .schedule import flow_sde_weights, step_time

VelocityFn = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""v(x, k): float32 states [B, M, H, A] and step indices [B, M] (int64) to float32 velocities [B, M, H, A]."""


class VelocityField(NamedTuple):
    """The velocity field of a batch of decisions, and what else a head may know of them."""

    velocity: VelocityFn
    condition: torch.Tensor
    """Summary of the observation, float32 [B, C], of order one."""

    def __call__(self, x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Evaluate the field, see :data:`VelocityFn`."""
        return self.velocity(x, step)


class Transitions(NamedTuple):
    """The random transitions of a chain; all that is needed to score it again."""

    x: torch.Tensor
    """States left, float32 [B, M, H, A]."""
    x_next: torch.Tensor
    """States reached, float32 [B, M, H, A]."""
    step: torch.Tensor
    """Denoising step of each transition, int64 [B, M]."""


class FlowSample(NamedTuple):
    """A sampled chain."""

    actions: torch.Tensor
    """The chain's end, the action chunk, float32 [B, H, A]."""
    transitions: Transitions
    mean: torch.Tensor
    """Means of the random transitions under the sampling policy, float32 [B, M, H, A]."""
    std: torch.Tensor
    """Their standard deviations, broadcastable to ``mean``."""


class FlowHead(nn.Module):
    """Base of the heads: integrates the ODE of the velocity field with K Euler steps.

    Args:
        num_steps: Number of denoising steps K.
        correlation: How the noise of a chunk's steps hangs together; independent where None.
    """

    def __init__(self, num_steps: int, correlation: NoiseCorrelation | None = None) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.correlation = NoiseCorrelation(1) if correlation is None else correlation

    def integrate(self, velocity: VelocityFn, x0: torch.Tensor) -> torch.Tensor:
        """Return the ODE's end point from ``x0`` [B, H, A]: x <- x + v(x, k) / K for k = 0 ... K - 1."""
        x = x0
        for k in range(self.num_steps):
            x = x + self._velocity(velocity, x, k) / self.num_steps
        return x

    def sample(self, velocity: VelocityFn, x0: torch.Tensor, condition: torch.Tensor | None = None) -> FlowSample:
        """Sample a chain from the initial noise ``x0`` [B, H, A]; ``condition`` [B, C] for heads that want one."""
        raise NotImplementedError

    def distribution(
        self, velocity: VelocityFn, transitions: Transitions, condition: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (mean, std) of stored transitions under ``velocity``; differentiable in its parameters."""
        raise NotImplementedError

    def std_summary(self) -> torch.Tensor:
        """Return representative standard deviations of the noise, for the log."""
        raise NotImplementedError

    @staticmethod
    def _velocity(velocity: VelocityFn, x: torch.Tensor, k: int) -> torch.Tensor:
        """Evaluate the field at step k for all rows of ``x`` [B, H, A]."""
        step = torch.full((x.shape[0], 1), k, dtype=torch.long, device=x.device)
        return velocity(x.unsqueeze(1), step).squeeze(1)


class FlowSde(FlowHead):
    """Flow-SDE: Euler-Maruyama steps of an SDE with the marginals of the ODE (Flow-GRPO, arXiv 2505.05470; pi_RL).

    The marginals are the ODE's in the limit of many steps. With the four of GR00T the actions spread wider, the
    more so the higher the level and with all steps random: docs/design.md has figures.

    Args:
        num_steps: Number of denoising steps K.
        noise_level: The level a of the schedule sigma = a * sqrt((1 - t) / t).
        stochastic_steps: "one": one uniformly drawn step per sample is random and the others follow the ODE;
            "all": every step is random, and the log-probability is that of the whole chain.
        first_step_noise: "second_step" or "published", see :func:`~gr00t_rl.flow.flow_sde_std`.
        correlation: See :class:`FlowHead`.
    """

    def __init__(
        self,
        num_steps: int,
        noise_level: float,
        stochastic_steps: str,
        first_step_noise: str = "second_step",
        correlation: NoiseCorrelation | None = None,
    ) -> None:
        super().__init__(num_steps, correlation)
        self.noise_level = noise_level
        self.stochastic_steps = stochastic_steps
        self.first_step_noise = first_step_noise

    def _weights(self, step: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return flow_sde_weights(step, self.num_steps, self.noise_level, dtype, self.first_step_noise)

    def transition(self, x: torch.Tensor, v: torch.Tensor, step: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (mean, std) of the step from ``x`` [B, M, H, A] at ``step`` [B, M]; std has shape [B, M, 1, 1]."""
        w0, w1, std = (w[..., None, None] for w in self._weights(step, x.dtype))
        t = step_time(step, self.num_steps, x.dtype)[..., None, None]
        x_noise = x - t * v
        x_data = x + (1.0 - t) * v
        return w0 * x_noise + w1 * x_data, std

    def sample(self, velocity: VelocityFn, x0: torch.Tensor, condition: torch.Tensor | None = None) -> FlowSample:
        """Sample a chain; see :class:`FlowSde` for which steps are random."""
        batch, device = x0.shape[0], x0.device
        chosen = torch.randint(self.num_steps, (batch, 1), device=device) if self.stochastic_steps == "one" else None
        x, visited = x0.unsqueeze(1), []
        for k in range(self.num_steps):
            step = torch.full((batch, 1), k, dtype=torch.long, device=device)
            v = velocity(x, step)
            mean, std = self.transition(x, v, step)
            x_next = mean + std * self.correlation.correlate(torch.randn_like(mean))
            if chosen is not None:
                x_next = torch.where((chosen == k)[..., None, None], x_next, x + v / self.num_steps)
            visited.append((x, x_next, step, mean, std))
            x = x_next
        x_all, next_all, step_all, mean_all, std_all = (torch.cat(part, dim=1) for part in zip(*visited, strict=True))
        if chosen is not None:
            x_all, next_all, mean_all, std_all = (_pick(p, chosen) for p in (x_all, next_all, mean_all, std_all))
            step_all = chosen
        return FlowSample(x.squeeze(1), Transitions(x_all, next_all, step_all), mean_all, std_all)

    def std_summary(self) -> torch.Tensor:
        """Return the standard deviation of each step, [K]."""
        return self._weights(torch.arange(self.num_steps), torch.float32)[2]

    def distribution(
        self, velocity: VelocityFn, transitions: Transitions, condition: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Score the stored transitions with one batched evaluation of the field."""
        v = velocity(transitions.x, transitions.step)
        return self.transition(transitions.x, v, transitions.step)


class GaussianHead(FlowHead):
    """The plain Gaussian policy: ODE action from the stored initial noise, plus a learned state-independent std.

    Args:
        num_steps: Number of denoising steps K.
        action_dim: Number of real action dimensions that have a learned std; padded dimensions keep ``init_std``.
        init_std: Initial standard deviation, in the policy's normalised action units.
        correlation: See :class:`FlowHead`.
    """

    def __init__(
        self, num_steps: int, action_dim: int, init_std: float, correlation: NoiseCorrelation | None = None
    ) -> None:
        super().__init__(num_steps, correlation)
        self.log_std = nn.Parameter(torch.full((action_dim,), math.log(init_std)))

    def std(self, total_dim: int) -> torch.Tensor:
        """Return the standard deviations [1, 1, 1, total_dim]; padded dimensions repeat the first one, detached."""
        std = self.log_std.exp()
        padding = std[:1].detach().expand(total_dim - std.shape[0])
        return torch.cat((std, padding))[None, None, None]

    def std_summary(self) -> torch.Tensor:
        """Return the learned standard deviations, [A]."""
        return self.log_std.detach().exp()

    def sample(self, velocity: VelocityFn, x0: torch.Tensor, condition: torch.Tensor | None = None) -> FlowSample:
        """Sample the action around the ODE's end point."""
        mean = self.integrate(velocity, x0).unsqueeze(1)
        std = self.std(mean.shape[-1])
        action = mean + std * self.correlation.correlate(torch.randn_like(mean))
        step = torch.zeros(x0.shape[0], 1, dtype=torch.long, device=x0.device)
        return FlowSample(action.squeeze(1), Transitions(x0.unsqueeze(1), action, step), mean, std.expand_as(mean))

    def distribution(
        self, velocity: VelocityFn, transitions: Transitions, condition: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Integrate the ODE again from the stored initial noise, with gradients through all K steps."""
        mean = self.integrate(velocity, transitions.x.squeeze(1)).unsqueeze(1)
        return mean, self.std(mean.shape[-1])


def _pick(tensor: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Select along the step dimension: ``tensor`` [B, K, ...] at ``step`` [B, 1] to [B, 1, ...]."""
    index = step.view(-1, 1, *([1] * (tensor.dim() - 2))).expand(-1, 1, *tensor.shape[2:])
    return tensor.gather(1, index)
