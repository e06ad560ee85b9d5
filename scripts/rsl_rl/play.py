"""Play a task: `uv run scripts/rsl_rl/play.py --task Gr00t-Push-Cube-Franka` (or with `isaaclab.sh -p`).

The same as `isaaclab play --rl_library rsl_rl`, but it picks the device and names the tasks when the id is wrong.
"""

import sys

from isaaclab_rl.entrypoints import run_play_cli
from launch import launch

if __name__ == "__main__":
    sys.exit(launch(run_play_cli, sys.argv[1:]))
