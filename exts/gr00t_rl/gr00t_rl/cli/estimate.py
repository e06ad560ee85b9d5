# SPDX-License-Identifier: BSD-3-Clause
"""``gr00t-rl estimate``: the memory that a training run will need, before it is started."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..gr00t.generations import GENERATIONS
from ..utils.errors import ConfigurationError
from . import overrides_first, verb_parser, wants_help
from .simulated import OVERRIDES, launch_program, leave

DESCRIPTION = f"""Say how much memory a training run will need, part by part, and whether it fits.

It takes what `gr00t-rl train` takes. Nothing is simulated, and no weights are read: the run's own code is rehearsed on
tensors without memory.

The exit status is 1 if the run cannot fit; the message names the settings that would make it fit.

{OVERRIDES}"""
EXAMPLES = """
  gr00t-rl estimate --task Gr00t-Push-Cube-Franka
  gr00t-rl estimate --task Gr00t-Push-Cube-Franka-Camera --num_envs 64 agent.actor.checkpoint=/path/to/gr00t_n1d5 \\
      agent.actor.tokenizer=/path/to/eagle_assets agent.actor.embodiment_id=31 agent.actor.dtype=bfloat16 \\
      env.camera_size=224
  gr00t-rl estimate --task Gr00t-Push-Cube-Franka-Camera --full-size --memory 80GB agent.actor.dtype=bfloat16"""


def build_parser() -> argparse.ArgumentParser:
    """Options of this verb; Isaac Lab's own are taken too and not heeded."""
    parser = verb_parser("estimate", DESCRIPTION, EXAMPLES)
    parser.add_argument("--task", required=True, help="task id")
    parser.add_argument(
        "--agent",
        default="rsl_rl_cfg_entry_point",
        help="name of the agent's cfg entry point (default: rsl_rl_cfg_entry_point)",
    )
    parser.add_argument("--num_envs", type=int, help="envs (default: the task's)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda:0, ... (default: the GPU if there is one)")
    parser.add_argument(
        "--memory", help="ask about a GPU with this much memory, such as 80GB, in place of this machine's device"
    )
    parser.add_argument(
        "--full-size",
        "--full_size",
        action="store_true",
        help="a network of the released sizes, in place of the agent's checkpoint",
    )
    parser.add_argument("--generation", choices=tuple(GENERATIONS), help="whose sizes --full-size means (default n1.5)")
    parser.add_argument("--json", type=Path, help="file for the figures, in bytes")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Estimate as the command line says; returns the exit status."""
    argv = overrides_first(sys.argv[1:] if argv is None else argv)
    if wants_help(argv):
        build_parser().print_help()
        return 0
    return launch_program(_estimate, argv)


def _estimate(argv: list[str]) -> int:
    from isaaclab_tasks.utils import resolve_task_config

    from ..gr00t import generation
    from ..memory.devices import parse_bytes
    from ..memory.estimate import Subject, show
    from ..options import FLASH
    from ..preflight import check_agent, check_observations
    from ..preflight.groups import fill_episode_length
    from ..utils.whole_files import write_whole

    args, overrides = build_parser().parse_known_args(argv)
    if args.num_envs is not None and args.num_envs < 1:
        raise ConfigurationError(f"--num_envs is {args.num_envs}; set an integer of at least 1")
    memory = None if args.memory is None else parse_bytes(args.memory)
    env_cfg: Any
    env_cfg, agent_cfg = resolve_task_config(args.task, args.agent, overrides=overrides)
    if args.num_envs is not None:
        env_cfg.scene.num_envs = args.num_envs
    if "Gr00tActor" not in str(agent_cfg.actor.class_name):
        raise ConfigurationError(
            f"--agent {args.agent} has no GR00T actor, but {agent_cfg.actor.class_name}: a small network"
        )
    if args.generation and not args.full_size:
        raise ConfigurationError(f"--generation {args.generation} says whose --full-size is meant; give that too")
    if args.full_size:
        agent_cfg.actor.checkpoint = "tiny"  # what there is on disk does not matter
    if memory is None:
        agent_cfg.device = args.device  # checked with the rest
    elif agent_cfg.actor.attn_implementation == FLASH:  # of that GPU; sdpa is rehearsed in its place
        agent_cfg.actor.attn_implementation = "sdpa"
    fill_episode_length(env_cfg, agent_cfg)
    check_agent(agent_cfg)
    check_observations(env_cfg, agent_cfg)
    device = "cuda" if memory is not None else args.device
    config = generation(args.generation or "n1.5").Config.full_size() if args.full_size else None
    whose = "free" if memory is None else f"of --memory {args.memory}"
    estimate = show(Subject(env_cfg, agent_cfg, device, config), memory, whose)
    if args.json is not None:
        parts = {**estimate.standing, "encode and denoise": estimate.deciding, **estimate.updating}
        content = {"peak": estimate.peak, "phases": estimate.phases, "parts": parts}
        write_whole(args.json, (json.dumps(content, indent=1) + "\n").encode())
    leave()
