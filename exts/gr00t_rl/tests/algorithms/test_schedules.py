# SPDX-License-Identifier: BSD-3-Clause
"""Learning-rate schedules by hand."""

from __future__ import annotations

import pytest
import torch

from gr00t_rl.algorithms.schedules import RateController, Schedule, annealed, warmed_up


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [("fixed", [8.0, 8.0, 8.0]), ("linear", [8.0, 6.0, 4.0]), ("cosine", [8.0, 4.0 + 4.0 / 2**0.5, 4.0])],
)
def test_annealing_at_the_start_a_quarter_and_half_of_the_run(schedule, rates):
    """The cosine's quarter: 8 (1 + cos 45 degrees) / 2 = 4 + 4 / sqrt(2)."""
    assert [annealed(8.0, schedule, progress) for progress in (0.0, 0.25, 0.5)] == pytest.approx(rates)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_annealing_ends_at_zero_and_stays_there(schedule):
    assert [annealed(8.0, schedule, progress) for progress in (1.0, 1.5)] == pytest.approx([0.0, 0.0])


def controller(schedules: tuple[str, str]) -> RateController:
    return controller_of(*(Schedule(kind) for kind in schedules))


def controller_of(*schedules: Schedule) -> RateController:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 1e-3, "rate": 1e-3} for _ in schedules]
    return RateController(torch.optim.AdamW(groups), schedules, max_iterations=10, desired_kl=0.1)


def rates(control: RateController) -> list[float]:
    return [group["lr"] for group in control.optimizer.param_groups]


@pytest.mark.parametrize(
    ("kl", "factor"), [(0.151, 1 / 1.3), (0.149, 1.0), (0.1, 1.0), (0.067, 1.0), (0.066, 1.3), (0.0, 1.3)]
)
def test_adaptive_rate_moves_towards_the_target(kl, factor):
    """Down above 1.5 x 0.1, up below 0.1 / 1.5; the group that anneals is left alone."""
    control = controller(("adaptive", "linear"))
    control.begin_iteration(5)
    control.end_iteration(kl)
    assert rates(control) == pytest.approx([1e-3 * factor, 0.5e-3])


@pytest.mark.parametrize(("kl", "bound"), [(0.0, 1), (1.0, 0)])
def test_adaptive_rate_stays_within_multiples_of_its_initial_value(kl, bound):
    """However often the KL is too small or too large."""
    control = controller(("adaptive", "fixed"))
    low, high = control.BOUNDS
    assert low < 1.0 < high
    for _ in range(40):
        control.end_iteration(kl)
    assert rates(control) == pytest.approx([1e-3 * control.BOUNDS[bound], 1e-3])


def test_warm_up_by_hand():
    """Over three iterations from the second on: a quarter, a half, three quarters, all."""
    assert [warmed_up(i, 1, 3) for i in range(6)] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    assert [warmed_up(i, 4, 0) for i in (0, 4)] == [1.0, 1.0]


def test_warm_up_and_annealing_multiply():
    control = controller_of(Schedule("linear", 3, 1), Schedule("fixed"))
    found = []
    for iteration in range(5):
        control.begin_iteration(iteration)
        found.append(rates(control)[0])
    assert found == pytest.approx([0.0, 0.9e-3 / 4, 0.8e-3 / 2, 0.7e-3 * 3 / 4, 0.6e-3])


def test_adaptive_rates_do_not_rise_during_a_warm_up():
    """A rate of a quarter moves the policy little, whatever the full one would do; falling is allowed."""
    control = controller_of(Schedule("adaptive", 3), Schedule("adaptive"))
    control.begin_iteration(0)
    control.end_iteration(0.0)
    assert rates(control) == pytest.approx([0.25e-3, 1e-3])
    control.end_iteration(1.0)
    assert rates(control) == pytest.approx([0.25e-3 / 1.3, 1e-3 / 1.3])
    control.begin_iteration(3)
    control.end_iteration(0.0)
    assert rates(control) == pytest.approx([1e-3, 1e-3])
