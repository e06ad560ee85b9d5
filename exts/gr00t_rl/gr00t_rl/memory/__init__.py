# SPDX-License-Identifier: BSD-3-Clause
"""How much memory a run will need, before it needs it."""
