# SPDX-License-Identifier: BSD-3-Clause
"""``gr00t-rl finetune``: supervised training of GR00T on demonstrations."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..sft.arguments import add_arguments, complete_arguments
from . import verb_parser

DESCRIPTION = """Train GR00T on demonstrations by flow matching, and write a checkpoint in the official layout.

A run that was interrupted goes on by the same command: every --save_interval steps it leaves its state in
OUT.resume.pt, which is removed when the checkpoint is written.

'--checkpoint tiny' (N1.5) or 'tiny-n1.7' is a small random network, whose sizes are options; all of it is trained. Of
other checkpoints, the projector, the diffusion model and the features' self-attention are."""
EXAMPLES = """
  gr00t-rl finetune --dataset datasets/push --task Gr00t-Push-Cube-Franka-Camera --checkpoint tiny \\
      --out checkpoints/push

  gr00t-rl finetune --dataset datasets/push --task Gr00t-Push-Cube-Franka-Camera --checkpoint /path/to/gr00t_n1d5 \\
      --tokenizer /path/to/eagle_assets --embodiment_id 31 --out checkpoints/big --steps 20000

  gr00t-rl finetune --dataset datasets/mine --checkpoint /path/to/gr00t_n1d5 --tokenizer /path/to/eagle_assets \\
      --embodiment_tag new_embodiment --embodiment_id 31 --out checkpoints/mine"""


def build_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = verb_parser("finetune", DESCRIPTION, EXAMPLES)
    add_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the command line says."""
    args = build_parser().parse_args(sys.argv[1:] if argv is None else argv)
    complete_arguments(args)
    from ..sft.program import run
    from .simulated import leave

    run(args)
    leave()  # libraries of the simulator, which the task's cfg loads, take seconds to unload
