# SPDX-License-Identifier: BSD-3-Clause
"""Push: slide a cube along the table to a goal."""
