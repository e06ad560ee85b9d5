"""Evaluate a policy: `uv run scripts/rsl_rl/evaluate.py --task Gr00t-Push-Cube-Franka` (or with `isaaclab.sh -p`).

`--checkpoint base` evaluates the agent's base weights. With `--compare` and no `--task`, earlier results and training
runs are compared and nothing is simulated. See docs/evaluation.md.
"""

import sys

from gr00t_rl.evaluation.program import run, run_compare

if __name__ == "__main__":
    argv = sys.argv[1:]
    if "--compare" in argv and not any(arg.split("=")[0] == "--task" for arg in argv):
        sys.exit(run_compare(argv))
    from launch import launch_program  # loads Isaac Lab

    sys.exit(launch_program(run, argv))
