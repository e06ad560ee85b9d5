# SPDX-License-Identifier: BSD-3-Clause
"""``gr00t-rl play``: Isaac Lab's ``play`` with rsl_rl; it picks the device and names the tasks if an id is wrong."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from . import verb_parser
from .simulated import OVERRIDES, launch

EXAMPLES = """
  gr00t-rl play --task Gr00t-Push-Cube-Franka --checkpoint latest --viz newton
  gr00t-rl play --task Gr00t-Push-Cube-Franka --checkpoint RUN/model_100.pt --num_envs 4 --device cpu"""


def build_parser() -> argparse.ArgumentParser:
    """The options that matter most here; Isaac Lab reads them, and it has more."""
    parser = verb_parser(
        "play",
        "Play a trained policy until you stop it, and export it to TorchScript and ONNX in exported/ beside its\n"
        "checkpoint. Above 1 GB of weights it is only played; `gr00t-rl export` writes it as a checkpoint. The same\n"
        f"as `isaaclab play --rl_library rsl_rl`, whose --help lists all options.\n\n{OVERRIDES}",
        EXAMPLES,
    )
    parser.add_argument("--task", help="task id")
    parser.add_argument("--agent", help="the agent that was trained (default: rsl_rl_cfg_entry_point)")
    parser.add_argument("--video", action="store_true", help="film a few envs (needs moviepy)")
    parser.add_argument("--video_length", type=int, help="env steps of a film")
    parser.add_argument("--checkpoint", help="model_N.pt, a run's folder, 'latest' or 'best'")
    parser.add_argument("--num_envs", type=int, help="envs (default: the task's)")
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: the GPU if there is one)")
    parser.add_argument("--viz", help="newton, rerun, viser or, with Isaac Sim, kit (default: nothing is shown)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Play as the command line says; returns the exit status."""
    return launch("play", build_parser(), argv)
