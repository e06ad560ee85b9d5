# SPDX-License-Identifier: BSD-3-Clause
"""``gr00t-rl train``: Isaac Lab's ``train`` with rsl_rl; it picks the device and names the tasks if an id is wrong."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from . import verb_parser
from .simulated import OVERRIDES, launch

EXAMPLES = """
  gr00t-rl train --task Gr00t-Push-Cube-Franka --device cpu
  gr00t-rl train --task Gr00t-Reach-Franka --agent rsl_rl_mlp_cfg_entry_point --num_envs 64 --max_iterations 200
  gr00t-rl train --task Gr00t-Push-Cube-Franka --agent rsl_rl_grpo_cfg_entry_point agent.algorithm.kl_coef=0.01
  gr00t-rl train --task Gr00t-Push-Cube-Franka-Camera agent.actor.checkpoint=/path/to/gr00t_n1d5 env.camera_size=224
  gr00t-rl train --task Gr00t-Push-Cube-Franka --checkpoint latest"""


def build_parser() -> argparse.ArgumentParser:
    """The options that matter most here; Isaac Lab reads them, and it has more."""
    parser = verb_parser(
        "train",
        "Train a task by reinforcement learning. The same as `isaaclab train --rl_library rsl_rl`, whose --help lists\n"
        f"all options.\n\n{OVERRIDES}",
        EXAMPLES,
    )
    parser.add_argument("--task", help="task id")
    parser.add_argument("--agent", help="policy and algorithm (default: rsl_rl_cfg_entry_point, GR00T with PPO)")
    parser.add_argument("--num_envs", type=int, help="envs (default: the task's)")
    parser.add_argument("--max_iterations", type=int, help="iterations (default: the agent's)")
    parser.add_argument("--seed", type=int, help="seed of everything random")
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: the GPU if there is one)")
    parser.add_argument("--video", action="store_true", help="film a few envs (needs moviepy)")
    parser.add_argument("--video_length", type=int, help="env steps of a film")
    parser.add_argument("--checkpoint", help="go on from a model_N.pt, a run's folder, 'latest' or 'best'")
    parser.add_argument("--logger", help="tensorboard or wandb (default: tensorboard)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the command line says; returns the exit status."""
    return launch("train", build_parser(), argv)
