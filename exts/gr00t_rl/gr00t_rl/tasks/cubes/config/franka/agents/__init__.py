# SPDX-License-Identifier: BSD-3-Clause
"""Agents of the Cubes tasks."""
