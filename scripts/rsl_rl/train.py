"""Train a task: `uv run scripts/rsl_rl/train.py --task Gr00t-Push-Cube-Franka` (or with `isaaclab.sh -p`).

The same as `isaaclab train --rl_library rsl_rl`, but it picks the device and names the tasks when the id is wrong.
`gr00t-rl train` is the same command.
"""

import sys

from gr00t_rl.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
