# SPDX-License-Identifier: BSD-3-Clause
"""Write the policy of a training run as a GR00T N1.5 checkpoint in the official layout.

Usage::

    python source/standalone/tools/export_checkpoint.py --checkpoint logs/rsl_rl/EXPERIMENT/RUN/model_9.pt --out DIR

The folder loads wherever the base checkpoint did. Judge it as it will be used, bfloat16 rounding included::

    python scripts/rsl_rl/evaluate.py --task TASK --checkpoint DIR
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from gr00t_rl.gr00t import CheckpointError
from gr00t_rl.models.trained import trained_network
from gr00t_rl.utils.errors import ConfigurationError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the checkpoint; returns 0, or 1 after one line on stderr when something does not fit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--checkpoint", type=Path, required=True, help="model_N.pt in the folder of its run")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an existing checkpoint is replaced")
    parser.add_argument("--base", help="base weights, where they are no longer where the run found them")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16", help="type on disk (default bfloat16)")
    args = parser.parse_args(argv)
    try:
        trained_network(args.checkpoint, args.base).to(DTYPES[args.dtype]).save_pretrained(args.out)
    except (ConfigurationError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: the policy of {args.checkpoint}, {args.dtype}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
