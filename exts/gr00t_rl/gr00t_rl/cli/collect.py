# SPDX-License-Identifier: BSD-3-Clause
"""``gr00t-rl collect``: demonstrations of a task's scripted expert."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..utils.errors import ConfigurationError, said_at_once
from . import overrides_first, verb_parser, wants_help
from .simulated import OVERRIDES, launch_program, leave

DESCRIPTION = f"""Let a task's scripted expert play, and record its episodes as a LeRobot dataset.

The same command continues a collection that was interrupted.

{OVERRIDES}"""
EXAMPLES = """
  gr00t-rl collect --task Gr00t-Push-Cube-Franka-Camera --episodes 500 --out datasets/push

  gr00t-rl collect --task Gr00t-Push-Cube-Franka-Camera --episodes 1024 --num_envs 256 --out datasets/sight \\
      --privileged tcp_to_cube cube_to_goal env.sample_instructions=true"""
FORMATS = ("mp4", "png")


def build_parser() -> argparse.ArgumentParser:
    """Options of this verb; Isaac Lab's own are added by :func:`main`."""
    parser = verb_parser("collect", DESCRIPTION, EXAMPLES)
    parser.add_argument("--task", required=True, help="task id")
    parser.add_argument("--episodes", type=int, required=True, help="episodes to write")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the dataset; an interrupted one is continued"
    )
    parser.add_argument("--num_envs", type=int, default=64, help="envs that play at once (default 64)")
    parser.add_argument(
        "--noise",
        type=float,
        default=0.2,
        help="standard deviation of noise added to the arm's executed action, in action units; what is recorded is the "
        "expert's action without it (default 0.2)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of starts, goals and noise (default 0)")
    parser.add_argument("--keep_failures", action="store_true", help="write failed episodes too")
    parser.add_argument(
        "--privileged",
        nargs="+",
        default=[],
        metavar="TERM",
        help="terms of the observation group 'critic' to record beside what the policy sees, which "
        "`gr00t-rl finetune --grounding` learns to tell from the pictures (default: none)",
    )
    parser.add_argument(
        "--images",
        choices=FORMATS,
        default="mp4",
        help="mp4: lossless video, which GR00T's loader reads; png: in the parquet files (default mp4)",
    )
    return parser


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse numbers that cannot work. Raises ConfigurationError."""
    for name, least in (("episodes", 1), ("num_envs", 1), ("noise", 0), ("seed", 0)):
        if not getattr(args, name) >= least:  # NaN is not
            raise ConfigurationError(f"--{name} is {getattr(args, name)}; set {least} or more")


def main(argv: Sequence[str] | None = None) -> int:
    """Collect as the command line says; returns the exit status."""
    argv = overrides_first(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if wants_help(argv):
        parser.print_help()
        return 0
    return launch_program(_collect, argv)


def _collect(argv: list[str]) -> int:
    from isaaclab.app import add_launcher_args, launch_simulation
    from isaaclab_tasks.utils import resolve_task_config, setup_preset_cli

    from ..data.collect import check_env_tells, run
    from ..data.task_modality import AGENT, check_task, modality_of
    from ..preflight import check_agent
    from ..tasks.experts import find_expert

    parser = build_parser()
    add_launcher_args(parser)
    args, overrides = setup_preset_cli(parser, argv)
    check_arguments(args)
    check_task(args.task)
    find_expert(args.task)
    env_cfg: Any
    env_cfg, agent_cfg = resolve_task_config(args.task, AGENT, overrides=[*overrides])
    modality = modality_of(agent_cfg, args.task)
    check_agent(agent_cfg, reads_files=False)  # the base policy may be what these demonstrations are for
    del agent_cfg  # nobody trains: the env need not fit the agent
    check_env_tells(env_cfg)
    env_cfg.scene.num_envs, env_cfg.sim.device, env_cfg.seed = args.num_envs, args.device, args.seed
    env_cfg.start_group_size = 1
    with launch_simulation(env_cfg, args), said_at_once():
        run(args, env_cfg, modality, overrides)
        leave()
    return 0
