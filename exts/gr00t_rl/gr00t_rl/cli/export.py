# SPDX-License-Identifier: BSD-3-Clause
"""``gr00t-rl export``: the policy of a training run as a GR00T checkpoint in the official layout."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..utils.folders import check_checkpoint_folder
from . import verb_parser

DESCRIPTION = """Write the policy of a training run as a GR00T checkpoint in the official layout.

The folder loads wherever the base checkpoint did, `gr00t-rl serve` serves it, and its README.md is a model card, with
the evaluations that lie in the run's folder. Judge it as it will be used, rounding to bfloat16 included:
`gr00t-rl evaluate --task TASK --checkpoint DIR`."""
EXAMPLES = """
  gr00t-rl export --checkpoint logs/rsl_rl/EXPERIMENT/RUN/model_9.pt --out checkpoints/lifted
  gr00t-rl export --checkpoint best --task Gr00t-Push-Cube-Franka --out checkpoints/lifted"""


def build_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = verb_parser("export", DESCRIPTION, EXAMPLES)
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="model_N.pt in the folder of its run, that folder, or 'latest' or 'best' of --task and --agent",
    )
    parser.add_argument("--task", help="task id, for 'latest' and 'best'")
    parser.add_argument(
        "--agent",
        default="rsl_rl_cfg_entry_point",
        help="agent, for 'latest' and 'best' (default: rsl_rl_cfg_entry_point)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an existing checkpoint is replaced")
    parser.add_argument("--base", help="base weights, where they are no longer where the run found them")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="type on disk (default bfloat16)"
    )
    parser.add_argument(
        "--push-to-hub",
        "--push_to_hub",
        metavar="ORG/NAME",
        help="upload the folder to the Hugging Face hub as well, where a new model is private",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the checkpoint.

    Raises:
        ConfigurationError: Something does not fit.
    """
    args = build_parser().parse_args(sys.argv[1:] if argv is None else argv)
    check_checkpoint_folder("--out", args.out)
    from .run_file import run_file

    file = run_file(args.checkpoint, args.task, args.agent)
    from ..publish.program import export

    export(file, args.out, args.base, args.dtype, args.push_to_hub)
    return 0
