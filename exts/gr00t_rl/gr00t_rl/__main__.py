# SPDX-License-Identifier: BSD-3-Clause
"""``python -m gr00t_rl`` is ``gr00t-rl``, where the console command is not on the path (Isaac Lab's containers)."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
