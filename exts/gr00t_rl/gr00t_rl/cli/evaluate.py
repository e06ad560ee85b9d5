# SPDX-License-Identifier: BSD-3-Clause
"""``gr00t-rl evaluate``: success, films and a report of a policy, and comparisons of several."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from ..utils.errors import ConfigurationError
from ..utils.extras import how_to_get
from . import overrides_first, verb_parser, wants_help
from .simulated import OVERRIDES, launch_program

DESCRIPTION = f"""Evaluate a policy: success with a 95 % Wilson interval, return, length, success by start, films.

{OVERRIDES}"""
EXAMPLES = """
  gr00t-rl evaluate --task Gr00t-Push-Cube-Franka --checkpoint latest --num_episodes 512
  gr00t-rl evaluate --task Gr00t-Push-Cube-Franka --checkpoint base --video agent.actor.init_noise_scale=0

  # nothing is simulated
  gr00t-rl evaluate --compare logs/rsl_rl/gr00t_reach_franka/* --report docs/compared"""


def build_parser() -> argparse.ArgumentParser:
    """Options of this verb; Isaac Lab's own are added by :func:`main`."""
    parser = verb_parser("evaluate", DESCRIPTION, EXAMPLES)
    parser.add_argument("--task", help="task id; without it, --compare only compares")
    parser.add_argument(
        "--agent",
        default="rsl_rl_cfg_entry_point",
        help="name of the agent's cfg entry point (default: rsl_rl_cfg_entry_point)",
    )
    parser.add_argument(
        "--checkpoint",
        default="latest",
        help="model_N.pt or a run's folder; 'latest' or 'best' of this task and agent; wandb:ENTITY/PROJECT/RUN_ID; "
        "'base': the agent's own base weights; or the folder of a GR00T checkpoint (default: latest)",
    )
    parser.add_argument("--num_episodes", type=int, default=256, help="counted episodes (default: 256)")
    parser.add_argument("--num_envs", type=int, help="envs (default: the task's, at most num_episodes)")
    parser.add_argument("--seed", type=int, default=0, help="seed of starts and noise (default: 0)")
    parser.add_argument("--json", type=Path, help="file for the result, besides the report's result.json")
    parser.add_argument(
        "--report",
        help="folder of report.html and result.json, or 'none' (default: evaluation/ in the run's folder, or "
        "logs/evaluation/)",
    )
    parser.add_argument("--compare", nargs="+", type=Path, default=[], help="results, reports or runs to compare with")
    parser.add_argument("--video", action="store_true", help="film tasks without a camera as well")
    return parser


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse arguments that cannot work, before anything is started.

    Raises:
        ConfigurationError: At the first of them.
    """
    for name in ("num_episodes", "num_envs"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigurationError(f"--{name} is {value}; set an integer of at least 1")
    if args.report != "none" and importlib.util.find_spec("matplotlib") is None:
        raise ConfigurationError(
            f"a report needs matplotlib, which is not installed; {how_to_get('report')}, or set --report none"
        )
    if args.video and args.report == "none":
        raise ConfigurationError("--video is given, but films are shown in the report; drop --report none")
    targets = {"--json": args.json and args.json.parent, "--report": args.report and Path(args.report)}
    for option, folder in targets.items():
        nearest = next((path for path in (folder, *folder.parents) if path.exists()), None) if folder else None
        if nearest is not None and not nearest.is_dir():
            raise ConfigurationError(f"{option}: {nearest} is a file, not a folder; set another path")


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate as the command line says; returns the exit status."""
    argv = overrides_first(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if wants_help(argv):
        parser.print_help()
        return 0
    given = {arg.split("=")[0] for arg in argv}
    if "--compare" in given and "--task" not in given:
        args = parser.parse_args(argv)
        check_arguments(args)
        from ..evaluation.program import run_compare

        return run_compare(args)
    return launch_program(_evaluate, argv)


def _evaluate(argv: list[str]) -> int:
    from isaaclab.app import add_launcher_args
    from isaaclab_tasks.utils import setup_preset_cli

    from ..evaluation.program import run

    parser = build_parser()
    add_launcher_args(parser)
    args, overrides = setup_preset_cli(parser, argv)
    check_arguments(args)
    return run(args, overrides)
