# SPDX-License-Identifier: BSD-3-Clause
"""``gr00t-rl make-checkpoint``: a GR00T checkpoint with random weights, tiny or as large as the released one."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..gr00t.generations import GENERATIONS, NetworkConfig, generation
from ..utils.errors import ConfigurationError
from ..utils.folders import check_checkpoint_folder
from . import verb_parser

DESCRIPTION = """Write a GR00T checkpoint with random weights, in the official layout and with its own tokenizer.

It runs and trains like any other, but it does not act: for tests of speed, memory and plumbing, or to start from.
--full-size is the released network: N1.5's 2.41 billion parameters or N1.7's 3.14. As bfloat16 N1.5 takes 5.5 GB on
disk and 6.2 GiB of memory while it is made, N1.7 6.3 GB and 7.7 GiB, as float32 about twice that; it takes a minute or
two."""
EXAMPLES = """
  gr00t-rl make-checkpoint --out checkpoints/tiny --image_size 64 --seed 1
  gr00t-rl make-checkpoint --out checkpoints/full --full-size --dtype bfloat16"""
SIZES = {name: inspect.signature(generation(name).Config.tiny).parameters for name in GENERATIONS}
"""Generation -> the sizes of its tiny network."""


def build_parser() -> argparse.ArgumentParser:
    """Options: where, which seed and type, and one for each size of a tiny network."""
    parser = verb_parser("make-checkpoint", DESCRIPTION, EXAMPLES)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an existing checkpoint is replaced")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random weights (default 0)")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="float32", help="type on disk (default float32)"
    )
    parser.add_argument("--full-size", "--full_size", action="store_true", help="the released sizes, not tiny ones")
    parser.add_argument(
        "--generation", choices=tuple(GENERATIONS), default="n1.5", help="generation of GR00T (default n1.5)"
    )
    sizes = parser.add_argument_group("sizes of a tiny network")
    for name in dict.fromkeys(name for parameters in SIZES.values() for name in parameters):
        defaults = {of: SIZES[of][name].default for of in SIZES if name in SIZES[of]}
        shown = ", ".join(f"{of}: {'the last id' if value is None else value}" for of, value in defaults.items())
        sizes.add_argument(f"--{name}", type=int, metavar="N", help=f"default {shown}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the checkpoint.

    Raises:
        ConfigurationError: The sizes do not belong to one network, or the folder is something else.
    """
    args = build_parser().parse_args(sys.argv[1:] if argv is None else argv)
    names = dict.fromkeys(name for parameters in SIZES.values() for name in parameters)
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.full_size and given:
        raise ConfigurationError(f"--{next(iter(given))} is a size, but --full-size has its own; drop one of them")
    if foreign := given.keys() - SIZES[args.generation].keys():
        raise ConfigurationError(f"--{min(foreign)} is no size of --generation {args.generation}; drop it")
    for name, size in given.items():
        if size < (0 if name == "image_token_index" else 1):
            raise ConfigurationError(f"--{name} is {size}; set 1 or more")
    check_checkpoint_folder("--out", args.out)
    try:
        kind = generation(args.generation).Config
        config = kind.full_size() if args.full_size else kind.tiny(**given)
        parameters = write(config, args.seed, args.dtype, args.out)
    except ValueError as error:  # a CheckpointError is one
        raise ConfigurationError(str(error)) from None
    print(f"{args.out}: {parameters / 1e6:.2f} M parameters, {args.dtype}, seed {args.seed}")
    return 0


def write(config: NetworkConfig, seed: int, dtype: str, out: Path) -> int:
    """Make a random network, write it to the folder ``out``, and return its number of parameters."""
    import torch

    from ..gr00t import tokenizer_assets

    of = generation(config.generation)
    tokenizer = of.tiny_tokenizer(config)
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in of.Network(config).parameters())
    with _bar(parameters):
        model = of.Network.from_config(config, seed=seed, dtype=getattr(torch, dtype))
    model.assets = tokenizer_assets(tokenizer)
    print(f"writing {out} ...", flush=True)
    model.save_pretrained(out)
    return parameters


@contextlib.contextmanager
def _bar(parameters: int) -> Iterator[None]:
    """Show how many parameters of a network have been made, if it takes longer than a moment."""
    from torch.nn.modules.module import register_module_parameter_registration_hook
    from tqdm import tqdm

    with tqdm(total=parameters, desc="random weights", unit="", unit_scale=True, delay=2) as bar:

        def count(_module: Any, _name: str, parameter: Any) -> None:
            bar.update(0 if parameter is None else parameter.numel())

        hook = register_module_parameter_registration_hook(count)
        try:
            yield
        finally:
            hook.remove()
