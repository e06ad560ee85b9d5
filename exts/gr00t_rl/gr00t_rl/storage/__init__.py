# SPDX-License-Identifier: BSD-3-Clause
"""Rollout storage of decisions of variable duration."""

from .decision_storage import DecisionStorage
from .feature_cache import HostFeatureCache
from .rows import RowBuffer

__all__ = ["DecisionStorage", "HostFeatureCache", "RowBuffer"]
