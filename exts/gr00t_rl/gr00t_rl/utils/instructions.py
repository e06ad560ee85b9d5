# SPDX-License-Identifier: BSD-3-Clause
"""Names of the metrics of success, and what an env's instructions are called where results are told apart by them."""

from __future__ import annotations

from typing import Any

SUCCESS_RATE_TAG = "charts/success_rate"
"""Metric of all episodes; ``<tag>/<name>`` is that of the episodes with one of the instructions."""
FAILURE_RATE_TAG = "charts/failure_rate"
TIME_OUT_RATE_TAG = "charts/time_out_rate"
"""The other ways an episode can end: the three add up to 1."""


def task_names(env_cfg: Any) -> list[str]:
    """Return the short names of the tasks that ``env_cfg.instructions`` ask for, in their order.

    None where they are paraphrases of one task, and for envs that say nothing about it.
    """
    names = getattr(env_cfg, "instruction_names", None)
    return [] if names is None else list(names())


def instruction_labels(env_cfg: Any) -> list[str]:
    """Return a label for each instruction that episodes are given by chance: its task's name, else its text.

    None where all episodes are given the same one.
    """
    if not getattr(env_cfg, "sample_instructions", False):
        return []
    return task_names(env_cfg) or list(env_cfg.instructions)
