# SPDX-License-Identifier: BSD-3-Clause
"""Warnings of a run that has stopped learning: one line each, once each, with what to set."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from gr00t_rl.algorithms.evaluator import Score
from gr00t_rl.algorithms.health import HealthWatch, Share, SuccessWatch, has_curriculum

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


# -- success that falls ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("best", "now", "fallen"),
    [
        ((92, 100), (61, 100), True),
        ((92, 100), (73, 100), False),  # less than 0.2
        # of 10: 9 has the interval [0.596, 0.982], 6 has [0.313, 0.832]; the rates differ by 0.3
        ((9, 10), (6, 10), False),
        ((9, 10), (2, 10), True),  # [0.057, 0.510]
        ((5, 10), (9, 10), False),
    ],
)
def test_a_fall_is_large_and_no_chance(best, now, fallen):
    assert Share(1, *now).has_fallen_from(Share(0, *best)) is fallen


def test_evaluations_that_fall(caplog):
    watch, best = SuccessWatch(10), Score(50, 100, 92, 3.0)
    with caplog.at_level(logging.WARNING):
        for iteration, successes in ((50, 92), (55, 90), (60, 61), (65, 10)):
            watch.look_evaluated(Score(iteration, 100, successes, 1.0), best)
        watch.look_evaluated(Score(70, 100, None, 1.0), best)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "success fell from 92 % (iteration 50) to 61 % (iteration 60): the best is kept in model_best.pt" in line


def test_success_in_training_that_falls(caplog):
    """Only windows of an episode's length count: at first those end that succeed, all of them, and then the others."""
    watch = SuccessWatch(episode_steps=30)  # three iterations of 10 steps
    with caplog.at_level(logging.WARNING):
        for iteration, successes in enumerate((100, 0, 0, 100, 0, 0)):
            watch.look_trained(iteration, 10, successes, 100)
        assert not caplog.records
        for iteration in range(6, 12):
            watch.look_trained(iteration, 10, 5, 100)
    (line,) = [record.getMessage() for record in caplog.records]
    assert (
        "success in training fell from 33 % (iteration 5) to 2 % (iteration 6)" in line
        and "set agent.evaluation_interval" in line
    )


def test_few_episodes_and_envs_without_success_are_silent(caplog):
    watch = SuccessWatch(episode_steps=10)
    with caplog.at_level(logging.WARNING):
        for iteration in range(20):
            watch.look_trained(iteration, 10, 0, 0)
        watch.look_trained(20, 10, 100, 100)
        watch.look_trained(21, 10, 0, 100)
    assert not caplog.records


def test_an_env_that_gets_harder():
    for terms in ([], ["difficulty"]):
        unwrapped = SimpleNamespace(curriculum_manager=SimpleNamespace(active_terms=terms))
        assert has_curriculum(SimpleNamespace(unwrapped=unwrapped)) is bool(terms)
    assert not has_curriculum(SimpleNamespace())
