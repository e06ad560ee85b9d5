# SPDX-License-Identifier: BSD-3-Clause
"""What works on this machine, and how to get the rest: what ``gr00t-rl doctor`` shows."""

from .finding import Finding, Section, examine

__all__ = ["Finding", "Section", "examine"]
