# SPDX-License-Identifier: BSD-3-Clause
"""Log writers that give the metrics their documented tag names.

rsl_rl's logger writes ``Loss/<key>`` for whatever an algorithm returns, and its own ``Train/…`` and ``Perf/…``. The
tags that dashboards and tests rely on (``train/…``, ``charts/…``, ``perf/…``, as in CleanRL) are made from those here,
once for TensorBoard and Weights & Biases alike. rsl_rl's own tags are written as well.
"""

from __future__ import annotations

from typing import Any

from rsl_rl.utils.log_writer import LogWriter
from rsl_rl.utils.wandb_log_writer import WandbLogWriter

_TAGS = {
    "Loss/policy": "train/policy_loss",
    "Loss/value": "train/value_loss",
    "Loss/entropy": "train/entropy_loss",
    "Train/mean_reward": "charts/episodic_return",
    "Train/mean_episode_length": "charts/episodic_length",
    "Perf/total_fps": "charts/SPS",
    "Perf/collection_time": "perf/collect",
}


def metric_tag(tag: str) -> str | None:
    """Return the documented tag of one of rsl_rl's tags, or None if there is none."""
    if tag in _TAGS:
        return _TAGS[tag]
    if tag.startswith("Loss/"):
        key = tag.removeprefix("Loss/")
        return key if "/" in key else f"train/{key}"
    return None


class TensorboardWriter(LogWriter):
    """Writes scalars to TensorBoard event files in the run's folder.

    Args:
        log_dir: Folder of the run.
    """

    def __init__(self, log_dir: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(log_dir=log_dir, flush_secs=10)

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Write a scalar under rsl_rl's tag and under ours."""
        for name in (tag, metric_tag(tag)):
            if name is not None:
                self._writer.add_scalar(name, scalar_value, global_step)

    def stop(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


class WandbWriter(WandbLogWriter):
    """Writes scalars to Weights & Biases (``WANDB_MODE=offline`` keeps them on disk)."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Write a scalar under rsl_rl's tag and under ours."""
        for name in (tag, metric_tag(tag)):
            if name is not None:
                super().add_scalar(name, scalar_value, global_step)


def metric_logger(logger: str | dict[str, Any], cfg: dict[str, Any]) -> str | dict[str, Any]:
    """Return the rsl_rl logger entry that uses our writer in place of a stock one.

    Args:
        logger: The runner's "logger": "tensorboard", "wandb", or any other entry, which is returned as it is.
        cfg: The runner's configuration.
    """
    if logger == "tensorboard":
        return {"class_name": f"{__name__}:TensorboardWriter"}
    if logger == "wandb":
        return {"class_name": f"{__name__}:WandbWriter", "project_name": cfg.get("wandb_project")}
    return logger
