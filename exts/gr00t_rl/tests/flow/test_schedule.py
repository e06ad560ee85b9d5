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
