# SPDX-License-Identifier: BSD-3-Clause
"""Reach: bring the tool centre point to a goal in free space."""
