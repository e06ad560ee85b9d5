# SPDX-License-Identifier: BSD-3-Clause
"""Rollout storage of decisions of variable duration."""

from .decision_storage import DecisionStorage

__all__ = ["DecisionStorage"]
