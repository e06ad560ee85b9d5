# SPDX-License-Identifier: BSD-3-Clause
"""How good a policy is: unbiased episodes, intervals, breakdown by start, films, and reports that compare runs.

``gr00t-rl evaluate`` is the command; :mod:`.program` is what it runs. Importing the package starts nothing.
"""

from .episodes import EpisodeRecorder, Episodes
from .result import summarise, wilson_interval
from .rollout import play_episodes

__all__ = ["EpisodeRecorder", "Episodes", "play_episodes", "summarise", "wilson_interval"]
