# SPDX-License-Identifier: BSD-3-Clause
"""Time grid and noise schedule of the denoising chain.

Convention of GR00T: t = 0 is noise, t = 1 is data, x_t = (1 - t) * noise + t * data, v = data - noise.
"""

from __future__ import annotations

import torch


def step_time(step: torch.Tensor, num_steps: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return the time t_k = k / K at which denoising step k starts.

    Args:
        step: Step indices k, any shape, integer.
        num_steps: Number of denoising steps K.
        dtype: Floating-point type of the result.

    Returns:
        Times in [0, 1), shape of ``step``.
    """
    return step.to(dtype) / num_steps


def flow_sde_std(
    step: torch.Tensor,
    num_steps: int,
    noise_level: float,
    dtype: torch.dtype = torch.float32,
    first_step_noise: str = "second_step",
) -> torch.Tensor:
    """Return the diffusion coefficient sigma_k = a * sqrt((1 - t) / t) of Flow-SDE.

    At t = 0 the coefficient diverges. The schedule is that of Flow-GRPO (arXiv 2505.05470, eq. 12) and pi_RL (arXiv
    2510.25889), whose code puts t_1 in the denominator of the first step and leaves its numerator at 1.

    Args:
        step: Step indices k, any shape, integer.
        num_steps: Number of denoising steps K.
        noise_level: The level a.
        dtype: Floating-point type of the result.
        first_step_noise: "second_step": sigma_0 = sigma_1 = a * sqrt((1 - t_1) / t_1), and a with K = 1. "published":
            sigma_0 = a * sqrt(1 / t_1), as in the code of Flow-GRPO and RLinf: sqrt(K / (K - 1)) times as much. Noise
            levels of the two do not compare at the first step.

    Returns:
        sigma_k, shape of ``step``.
    """
    t = step_time(step.clamp(min=1), num_steps, dtype) if num_steps > 1 else torch.full_like(step, 0.5, dtype=dtype)
    ratio = (1.0 - t) / t
    if first_step_noise == "published":
        ratio = torch.where(step == 0, float(num_steps), ratio)  # 1 / t_1
    return noise_level * torch.sqrt(ratio)


def flow_sde_weights(
    step: torch.Tensor,
    num_steps: int,
    noise_level: float,
    dtype: torch.dtype = torch.float32,
    first_step_noise: str = "second_step",
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the weights and the standard deviation of one Euler-Maruyama step of the SDE with the ODE's marginals.

    The SDE has them; its K steps come to them as K grows. With few steps the chain's end spreads wider than the ODE's.
    With d = 1 / K, x0 = x - t * v (the noise end of the path) and x1 = x + (1 - t) * v (its data end), the next
    state is distributed as N(w0 * x0 + w1 * x1, std^2) with w1 = t + d, w0 = 1 - (t + d) - sigma^2 d / (2 (1 - t)),
    std = sigma * sqrt(d).

    Args:
        step: Step indices k, any shape, integer.
        num_steps: Number of denoising steps K.
        noise_level: The level a; 0 gives the Euler step of the ODE.
        dtype: Floating-point type of the result.
        first_step_noise: See :func:`flow_sde_std`.

    Returns:
        (w0, w1, std), each of the shape of ``step``.
    """
    t, d = step_time(step, num_steps, dtype), 1.0 / num_steps
    sigma = flow_sde_std(step, num_steps, noise_level, dtype, first_step_noise)
    w1 = t + d
    w0 = 1.0 - w1 - sigma.square() * d / (2.0 * (1.0 - t))
    return w0, w1, sigma * d**0.5
