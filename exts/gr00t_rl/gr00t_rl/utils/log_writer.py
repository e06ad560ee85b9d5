# SPDX-License-Identifier: BSD-3-Clause
"""Log writers that give the metrics their documented tag names.

rsl_rl's logger writes ``Loss/<key>`` for whatever an algorithm returns, and its own ``Train/…`` and ``Perf/…``. The
tags that dashboards and tests rely on (``train/…``, ``charts/…``, ``perf/…``, as in CleanRL) are made from those here,
once for TensorBoard and Weights & Biases alike. rsl_rl's own tags are written as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rsl_rl.utils import wandb_log_writer
from rsl_rl.utils.log_writer import LogWriter
from rsl_rl.utils.wandb_log_writer import WandbLogWriter
from torch.utils.tensorboard import SummaryWriter

from .errors import ConfigurationError, first_line

logger = logging.getLogger(__name__)

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
        self._writer = SummaryWriter(log_dir=log_dir, flush_secs=10)

        self._events = Dispensable(f"the event file in {log_dir}", "the disk may be full")

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Write a scalar under rsl_rl's tag and under ours."""
        for name in (tag, metric_tag(tag)):
            if name is not None:
                self._events.do(self._writer.add_scalar, name, scalar_value, global_step)

    def stop(self) -> None:
        """Flush and close the event file."""
        self._events.do(self._writer.close)


class WandbWriter(WandbLogWriter):
    """Writes scalars to Weights & Biases (``WANDB_MODE=offline`` keeps them on disk) and to an event file.

    Args:
        log_dir: Folder of the run.
        project_name: Project at Weights & Biases.

    Raises:
        ConfigurationError: Weights & Biases cannot be reached or does not let us in. Later outages cost its log alone.
    """

    def __init__(self, log_dir: str, project_name: str) -> None:
        try:
            super().__init__(log_dir, project_name)
        except ModuleNotFoundError:
            raise  # says what to install
        except Exception as error:  # wandb's own, and those of its network library
            reason = first_line(error, 160)
            raise ConfigurationError(
                f"Weights & Biases cannot be used ({reason}); see `wandb login` and the network, or set "
                "WANDB_MODE=offline or another --logger"
            ) from None
        self._events = Dispensable(f"the event file in {log_dir}", "the disk may be full")
        self._wandb = Dispensable("Weights & Biases", f"metrics are in the event file in {log_dir}")

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Write a scalar under rsl_rl's tag and under ours."""
        for name in (tag, metric_tag(tag)):
            if name is not None:
                self._events.do(SummaryWriter.add_scalar, self, name, scalar_value, global_step)
                self._wandb.do(wandb_log_writer.wandb.log, {name: scalar_value}, global_step)  # type: ignore

    def store_config(self, env_cfg: dict | object, train_cfg: dict) -> None:
        """Upload the settings."""
        self._wandb.do(super().store_config, env_cfg, train_cfg)

    def save_model(self, model_path: str, it: int) -> None:
        """Upload a checkpoint."""
        self._wandb.do(super().save_model, model_path, it)

    def save_file(self, path: str) -> None:
        """Upload a file."""
        self._wandb.do(super().save_file, path)

    def save_video(self, video: Path, it: int) -> None:
        """Upload a film."""
        self._wandb.do(super().save_video, video, it)

    def stop(self) -> None:
        """Finish the run at Weights & Biases, and close the event file."""
        self._wandb.do(super().stop)
        self._events.do(self.close)


class Dispensable:
    """A log that a run can do without: its first failure is told once, and from then on nothing is tried.

    An outage may make every call wait for a time-out; dozens of metrics in each iteration would not be a run any more.

    Args:
        name: For the message.
        remedy: What there is instead, or what may be wrong.
    """

    def __init__(self, name: str, remedy: str) -> None:
        self.works = True
        self._name, self._remedy = name, remedy

    def do(self, call: Callable[..., Any], *args: Any) -> None:
        """Call, unless it has failed before."""
        if not self.works:
            return
        try:
            call(*args)
        except Exception as error:  # of whatever library is behind it
            self.works = False
            reason = first_line(error, 160)
            logger.warning(
                "[gr00t_rl] %s takes no more metrics (%s); the run goes on without it: %s",
                *(self._name, reason, self._remedy),
            )


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
