# SPDX-License-Identifier: BSD-3-Clause
"""Write a small random GR00T N1.5 checkpoint, in the official layout and with a tokenizer of its own.

Usage::

    python source/standalone/tools/make_tiny_checkpoint.py --out checkpoints/tiny --seed 0 --image-size 64

Every keyword of ``Gr00tN1d5Config.tiny`` is an option. The weights are random: they run, they do not act.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from gr00t_rl.gr00t import Gr00tN1d5, Gr00tN1d5Config, tiny_tokenizer, tokenizer_assets

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def build_parser() -> argparse.ArgumentParser:
    """Options: where, which seed and type, and one for each size of ``Gr00tN1d5Config.tiny``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an existing checkpoint is replaced")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random weights (default 0)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="type on disk (default float32)")
    sizes = parser.add_argument_group("sizes")
    for name, parameter in inspect.signature(Gr00tN1d5Config.tiny).parameters.items():
        shown = "the last id" if parameter.default is None else parameter.default
        sizes.add_argument(
            f"--{name.replace('_', '-')}", type=int, default=parameter.default, metavar="N", help=f"default {shown}"
        )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the checkpoint; returns 0, or 1 after one line on stderr when the sizes or the folder are wrong."""
    args = vars(build_parser().parse_args(argv))
    out, seed, dtype = args.pop("out"), args.pop("seed"), DTYPES[args.pop("dtype")]
    try:
        config = Gr00tN1d5Config.tiny(**args)
        model = Gr00tN1d5.from_config(config, seed=seed, dtype=dtype)
        model.assets = tokenizer_assets(tiny_tokenizer(config))
        model.save_pretrained(out)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{out}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, seed {seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
