# SPDX-License-Identifier: BSD-3-Clause
"""Demonstrations in the LeRobot layout that GR00T's tools read: writing, reading, statistics.

It needs the extra ``data`` (pyarrow and PyAV).
"""

from .buffer import EpisodeBuffer
from .layout import Layout, Slice
from .pictures import FORMATS
from .reader import Demonstrations
from .statistics import statistics
from .writer import DatasetWriter, Episode

__all__ = ["FORMATS", "DatasetWriter", "Demonstrations", "Episode", "EpisodeBuffer", "Layout", "Slice", "statistics"]
