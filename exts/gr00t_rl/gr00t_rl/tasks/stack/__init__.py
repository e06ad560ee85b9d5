# SPDX-License-Identifier: BSD-3-Clause
"""Stack: set one cube on another."""
