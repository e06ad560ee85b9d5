"""Evaluate a policy: `uv run scripts/rsl_rl/evaluate.py --task Gr00t-Push-Cube-Franka` (or with `isaaclab.sh -p`).

`gr00t-rl evaluate` is the same command. See docs/evaluation.md.
"""

import sys

from gr00t_rl.cli.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
