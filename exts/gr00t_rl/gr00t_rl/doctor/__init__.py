# SPDX-License-Identifier: BSD-3-Clause
"""What works on this machine, and how to get the rest: what ``gr00t-rl doctor`` shows."""

from .examination import Section, examine
from .finding import Finding

__all__ = ["Finding", "Section", "examine"]
