# SPDX-License-Identifier: BSD-3-Clause
"""Pick-Place: grasp a cube and carry it to a goal in the air."""
