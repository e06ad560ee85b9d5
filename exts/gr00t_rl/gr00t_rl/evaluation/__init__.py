# SPDX-License-Identifier: BSD-3-Clause
"""How good a policy is: unbiased episodes, intervals, breakdown by start, films, and reports that compare runs.

``gr00t-rl evaluate`` is the command; :mod:`.program` is what it runs. Importing the package starts nothing.
"""

from ..utils.episode_recorder import EpisodeRecorder, Episodes
from ..utils.intervals import wilson_interval
from ..utils.play import play_episodes
from .result import summarise

__all__ = ["EpisodeRecorder", "Episodes", "play_episodes", "summarise", "wilson_interval"]
