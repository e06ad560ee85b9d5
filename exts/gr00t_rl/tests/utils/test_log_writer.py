# SPDX-License-Identifier: BSD-3-Clause
"""Documented metric names, and that a training run writes them to its event file."""

from __future__ import annotations

import math

import pytest
from helpers import PointMassEnv, make_runner, runner_cfg
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gr00t_rl.utils.log_writer import metric_logger, metric_tag

DOCUMENTED = {
    "train/policy_loss",
    "train/value_loss",
    "train/entropy_loss",
    "train/approx_kl",
    "train/clipfrac",
    "train/explained_variance",
    "train/grad_norm",
    "train/learning_rate",
    "charts/episodic_return",
    "charts/episodic_length",
    "charts/success_rate",
    "charts/SPS",
}


@pytest.mark.parametrize(
    ("tag", "ours"),
    [
        ("Loss/policy", "train/policy_loss"),
        ("Loss/approx_kl", "train/approx_kl"),
        ("Loss/perf/update", "perf/update"),
        ("Train/mean_reward", "charts/episodic_return"),
        ("Train/mean_reward/time", None),
        ("charts/success_rate", None),  # already named so by the env
        ("Episode/anything", None),
    ],
)
def test_tag_of(tag, ours):
    assert metric_tag(tag) == ours


def test_stock_loggers_are_replaced_and_others_kept():
    assert metric_logger("tensorboard", {}) == {"class_name": "gr00t_rl.utils.log_writer:TensorboardWriter"}
    wandb = metric_logger("wandb", {"wandb_project": "reach"})
    assert wandb == {"class_name": "gr00t_rl.utils.log_writer:WandbWriter", "project_name": "reach"}
    custom = {"class_name": "mine:Writer"}
    assert metric_logger(custom, {}) is custom


@pytest.mark.parametrize("actor", ["mlp", "flow_sde_one"])
def test_documented_metrics_are_in_the_event_file(actor, tmp_path):
    runner = make_runner(runner_cfg(actor, schedule="linear"), PointMassEnv(), log_dir=tmp_path)
    runner.learn(2)
    events = EventAccumulator(str(tmp_path)).Reload()
    tags = set(events.Tags()["scalars"])
    assert tags >= DOCUMENTED
    for tag in DOCUMENTED:
        values = [event.value for event in events.Scalars(tag)]
        assert len(values) == 2, tag
        assert all(map(math.isfinite, values)), tag
    rates = [event.value for event in events.Scalars("train/learning_rate")]
    assert rates == pytest.approx([1e-3, 0.9e-3])
    assert [event.value for event in events.Scalars("charts/success_rate")] == [0.25, 0.25]
    assert (tmp_path / "model_1.pt").is_file()
