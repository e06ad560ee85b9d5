# SPDX-License-Identifier: BSD-3-Clause
"""Errors, registration and log writers."""
