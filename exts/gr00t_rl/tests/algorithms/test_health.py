# SPDX-License-Identifier: BSD-3-Clause
"""Warnings of a run that has stopped learning: one line each, once each, with what to set."""

from __future__ import annotations

import logging

import pytest

from gr00t_rl.algorithms.health import HealthWatch

GOOD = {"frac_zero_std": 0.5, "grpo/mean_reward": 0.2, "kl_divergence": 0.05}


def lines(caplog: pytest.LogCaptureFixture, *looks: tuple[dict[str, float], float]) -> list[str]:
    watch = HealthWatch()
    with caplog.at_level(logging.WARNING):
        for metrics, std in looks:
            watch.look(metrics, std)
    return [record.getMessage() for record in caplog.records]


def test_a_healthy_run_is_silent(caplog):
    assert lines(caplog, *[(GOOD, 0.5)] * 5) == []


def test_groups_that_teach_nothing(caplog):
    """After three iterations in a row, and not again."""
    barren = {**GOOD, "frac_zero_std": 1.0, "grpo/mean_reward": 0.0}
    assert lines(caplog, (barren, 1.0), (barren, 1.0), (GOOD, 1.0), (barren, 1.0), (barren, 1.0)) == []
    (line,) = lines(caplog, *[(barren, 1.0)] * 7)
    assert "\n" not in line and "agent.algorithm.group_size" in line and "mean reward 0)" in line


def test_noise_that_is_gone(caplog):
    (line,) = lines(caplog, (GOOD, 0.5), (GOOD, 0.03), (GOOD, 0.02), (GOOD, 0.01))
    assert "from 0.5 to 0.02" in line and "entropy_coef" in line


def test_kl_that_explodes(caplog):
    (line,) = lines(caplog, *[({**GOOD, "kl_divergence": 85.0}, 0.5)] * 2)
    assert "KL of 85" in line and "target_kl" in line


def test_an_iteration_without_an_update_has_no_kl(caplog):
    barren = {"frac_zero_std": 1.0, "grpo/mean_reward": 1.0}
    assert lines(caplog, (barren, 0.5)) == []
