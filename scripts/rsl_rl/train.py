"""Train a task: `uv run scripts/rsl_rl/train.py --task Gr00t-Push-Cube-Franka` (or with `isaaclab.sh -p`).

The same as `isaaclab train --rl_library rsl_rl`, but it picks the device and names the tasks when the id is wrong.
"""

import sys

from isaaclab_rl.entrypoints import run_train_cli
from launch import launch

if __name__ == "__main__":
    sys.exit(launch(run_train_cli, sys.argv[1:]))
