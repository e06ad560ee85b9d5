# SPDX-License-Identifier: BSD-3-Clause
"""Demonstrations in the LeRobot layout that GR00T's tools read: writing, reading, statistics.

It needs the extra ``data`` (pyarrow and PyAV).
"""

from ..utils.errors import ConfigurationError
from ..utils.extras import how_to_get

try:
    from .buffer import EpisodeBuffer
    from .layout import Layout, Slice
    from .pictures import FORMATS
    from .reader import Demonstrations
    from .statistics import statistics
    from .writer import DatasetWriter, Episode
except ModuleNotFoundError as error:
    raise ConfigurationError(
        f"demonstrations need {error.name}, which is not installed; {how_to_get('data')}"
    ) from None

__all__ = ["FORMATS", "DatasetWriter", "Demonstrations", "Episode", "EpisodeBuffer", "Layout", "Slice", "statistics"]
