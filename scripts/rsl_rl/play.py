"""Play a task: `uv run scripts/rsl_rl/play.py --task Gr00t-Push-Cube-Franka` (or with `isaaclab.sh -p`).

The same as `isaaclab play --rl_library rsl_rl`, but it picks the device and names the tasks when the id is wrong.
`gr00t-rl play` is the same command.
"""

import sys

from gr00t_rl.cli.play import main

if __name__ == "__main__":
    sys.exit(main())
