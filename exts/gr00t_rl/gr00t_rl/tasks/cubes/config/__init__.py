# SPDX-License-Identifier: BSD-3-Clause
"""Robots this task is set up for."""
