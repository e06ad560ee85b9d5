# SPDX-License-Identifier: BSD-3-Clause
"""What rsl_rl 5.5 has and 5.4 has not, and what Isaac Lab 3.0 does to settings and later ones do not."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any

import torch
import torch.distributed as dist
from packaging.version import Version
from rsl_rl import utils
from rsl_rl.modules import EmpiricalNormalization
from rsl_rl.utils import resolve_callable

from .errors import ConfigurationError

SHARED_MOMENTS = Version("5.5.1")
"""The first version that was read whose observation normalisers learn from the envs of all ranks."""


def check_ranks(world_size: int, models: Iterable[torch.nn.Module]) -> None:
    """Refuse several processes with a version whose normalisers would drift apart, and the policies with them.

    Args:
        world_size: Number of processes.
        models: Of the run; those without a normaliser are trained with any version.

    Raises:
        ConfigurationError: The version is too old.
    """
    found = metadata.version("rsl-rl-lib")
    normalised = any(isinstance(m, EmpiricalNormalization) for model in models for m in model.modules())
    if world_size > 1 and normalised and Version(found) < SHARED_MOMENTS:
        raise ConfigurationError(
            f"{world_size} processes that normalise observations need rsl-rl-lib {SHARED_MOMENTS} or newer, found "
            f"{found}, where each normalises by its own envs alone; pip install rsl-rl-lib=={SHARED_MOMENTS}, or set "
            "agent.actor.obs_normalization and agent.critic.obs_normalization to False"
        )


def _resolve_class(cfg: dict[str, Any]) -> tuple[Callable, dict[str, Any]]:
    """Return the class that ``cfg["class_name"]`` names and a copy of the other entries."""
    arguments = copy.deepcopy(cfg)
    return resolve_callable(arguments.pop("class_name")), arguments


def _reduce_gradients(params: Iterable[torch.nn.Parameter], world_size: int, bucket_mb: float) -> None:
    """Average gradients over ranks, one reduction each; ``bucket_mb`` is of no use here."""
    for parameter in params:
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= world_size


resolve_class: Callable[[dict[str, Any]], tuple[Callable, dict[str, Any]]]
resolve_class = getattr(utils, "resolve_class", _resolve_class)


def model_class(cfg: dict[str, Any]) -> tuple[Callable, dict[str, Any]]:
    """Return a model's class and its arguments, without what Isaac Lab 3.0 wants in its cfg and takes out again."""
    found, arguments = resolve_class(cfg)
    return found, {name: value for name, value in arguments.items() if name != "stochastic"}


reduce_gradients_in_buckets: Callable[[Iterable[torch.nn.Parameter], int, float], None]
reduce_gradients_in_buckets = getattr(utils, "reduce_gradients_in_buckets", _reduce_gradients)
