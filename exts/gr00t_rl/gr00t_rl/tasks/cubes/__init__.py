# SPDX-License-Identifier: BSD-3-Clause
"""Cubes: push, pick and place, or stack, whichever the episode's instruction asks for."""
