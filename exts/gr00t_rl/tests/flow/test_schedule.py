# SPDX-License-Identifier: BSD-3-Clause
"""The noise schedule against numbers computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from gr00t_rl.flow import flow_sde_std, flow_sde_weights, step_time

STEPS = torch.arange(4)


def test_times_of_four_steps():
    assert step_time(STEPS, 4).tolist() == [0.0, 0.25, 0.5, 0.75]


def test_sigma_of_four_steps_by_hand():
    """sigma = a sqrt((1 - t) / t) at t = 1/4, 1/2, 3/4 gives a sqrt(3), a, a / sqrt(3); step 0 borrows from step 1."""
    expected = torch.tensor([math.sqrt(3.0), math.sqrt(3.0), 1.0, 1.0 / math.sqrt(3.0)])
    torch.testing.assert_close(flow_sde_std(STEPS, 4, 0.5), 0.5 * expected)


def test_weights_of_four_steps_by_hand():
    """a = 1/2, d = 1/4: sigma^2 d / (2 (1 - t)) is 3/32, 1/8, 1/16 and 1/24."""
    w0, w1, std = flow_sde_weights(STEPS, 4, 0.5)
    torch.testing.assert_close(w1, torch.tensor([0.25, 0.5, 0.75, 1.0]))
    torch.testing.assert_close(w0, torch.tensor([3 / 4 - 3 / 32, 1 / 2 - 1 / 8, 1 / 4 - 1 / 16, -1 / 24]))
    torch.testing.assert_close(std, torch.tensor([3**0.5 / 4, 3**0.5 / 4, 1 / 4, 3**-0.5 / 4]))


def test_published_first_step():
    """a sqrt(1 / t_1) = 2 a at t_1 = 1/4 in place of a sqrt(3); the other steps are the same."""
    published = flow_sde_std(STEPS, 4, 0.5, first_step_noise="published")
    assert published[0].item() == 1.0
    assert torch.equal(published[1:], flow_sde_std(STEPS, 4, 0.5)[1:])
    # w0 = 1 - 1/4 - sigma^2 d / 2 = 3/4 - 1/8
    w0, w1, std = flow_sde_weights(STEPS, 4, 0.5, first_step_noise="published")
    assert (w0[0].item(), w1[0].item(), std[0].item()) == (0.625, 0.25, 0.5)


@pytest.mark.parametrize("num_steps", [1, 2, 4, 10])
@pytest.mark.parametrize("first_step_noise", ["published", "second_step"])
def test_first_step_against_the_code_of_flow_grpo(num_steps, first_step_noise):
    """There time runs from 1 (noise) to 0: sqrt(s / (1 - s')) a, with s' the second of the times where s is 1.

    And the mean, x (1 + std^2 / (2 s) dt) + v (1 + std^2 (1 - s) / (2 s)) dt, with dt < 0 and v = noise - data.
    """
    times = torch.linspace(1.0, 0.0, num_steps + 1, dtype=torch.float64)
    s = times[:-1]
    sigma = 0.7 * torch.sqrt(s / (1.0 - torch.where(s == 1.0, times[1], s)))
    steps = torch.arange(num_steps)
    found = flow_sde_std(steps, num_steps, 0.7, torch.float64, first_step_noise)
    torch.testing.assert_close(found[1:], sigma[1:])
    same = torch.allclose(found[0], sigma[0])
    assert same == (first_step_noise == "published" or num_steps == 1)
    if first_step_noise == "published":
        x, v = torch.randn(2, num_steps, dtype=torch.float64)
        d = -1.0 / num_steps
        expected = x * (1.0 + sigma**2 / (2.0 * s) * d) - v * (1.0 + sigma**2 * (1.0 - s) / (2.0 * s)) * d
        w0, w1, std = flow_sde_weights(steps, num_steps, 0.7, torch.float64, "published")
        t = step_time(steps, num_steps, torch.float64)
        torch.testing.assert_close(w0 * (x - t * v) + w1 * (x + (1.0 - t) * v), expected)
        torch.testing.assert_close(std, sigma * (-d) ** 0.5)


@pytest.mark.parametrize("num_steps", [1, 2, 4, 64])
def test_no_noise_weights_are_the_euler_step(num_steps):
    """w0 x_noise + w1 x_data = x + v / K for sigma = 0, whatever x and v."""
    steps = torch.arange(num_steps)
    w0, w1, std = flow_sde_weights(steps, num_steps, 0.0, torch.float64)
    t = step_time(steps, num_steps, torch.float64)
    x, v = torch.randn(2, num_steps, dtype=torch.float64)
    torch.testing.assert_close(w0 * (x - t * v) + w1 * (x + (1 - t) * v), x + v / num_steps)
    assert torch.equal(std, torch.zeros_like(std))


def test_one_step_schedule_is_finite():
    """K = 1 has no second step to borrow from: t = 1/2 gives sigma = a."""
    w0, w1, std = flow_sde_weights(torch.zeros(1, dtype=torch.long), 1, 0.3)
    assert (w0.item(), w1.item(), std.item()) == pytest.approx((-0.045, 1.0, 0.3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_of_the_result(dtype):
    assert all(w.dtype == dtype for w in flow_sde_weights(STEPS, 3, 0.5, dtype))
    third = step_time(torch.tensor([1]), 3, dtype)
    assert abs(third.item() - 1 / 3) <= (1e-8 if dtype is torch.float32 else 1e-17) * 2
