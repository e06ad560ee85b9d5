# SPDX-License-Identifier: BSD-3-Clause
"""``gr00t-rl dataset``: look into a dataset of demonstrations, and evaluate checkpoints on it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ..sft.arguments import add_embodiment, add_pictures, check_ways
from ..utils.errors import ConfigurationError
from . import verb_parser

DESCRIPTION = """Look into datasets in the LeRobot layout (v2.0, v2.1, v3.0).

inspect says what is in one: version, rate, cameras, episodes, tasks, the range of each dimension, and what is strange
about it (numbers that never change or are none, files that do not fit). With --checkpoint it says which values lie
outside the range that the checkpoint's data had. Where there is no meta/modality.json, --write drafts one; edit it.

evaluate compares the actions that a checkpoint gives in recorded situations with the recorded ones (open loop): errors
of each key and dimension, and a plot. No simulator is needed."""
EXAMPLES = """
  gr00t-rl dataset inspect datasets/push
  gr00t-rl dataset inspect datasets/mine --write
  gr00t-rl dataset inspect datasets/push --checkpoint checkpoints/push --json
  gr00t-rl dataset evaluate --dataset datasets/push --checkpoint checkpoints/push --plot open_loop.png"""


def build_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = verb_parser("dataset", DESCRIPTION, EXAMPLES)
    actions = parser.add_subparsers(dest="action", required=True, metavar="inspect|evaluate")
    _add_inspect(actions)
    _add_evaluate(actions)
    return parser


def _add_inspect(actions: argparse._SubParsersAction) -> None:
    inspect = actions.add_parser("inspect", help="say what is in a dataset", allow_abbrev=False)
    add = inspect.add_argument
    add("folder", type=Path, help="folder of the dataset")
    add("--checkpoint", help="folder or hub id of a GR00T checkpoint, to compare the values with its statistics")
    add("--embodiment_tag", help="embodiment whose statistics are meant, where the checkpoint has several")
    add("--json", action="store_true", help="print a JSON table instead of text")
    draft = inspect.add_mutually_exclusive_group()
    draft.add_argument("--write", action="store_true", help="write the drafted meta/modality.json into the dataset")
    draft.add_argument("--out", type=Path, help="write the drafted modality.json to this new file")


def _add_evaluate(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser("evaluate", help="compare a checkpoint's actions with the recorded", allow_abbrev=False)
    add = parser.add_argument
    add("--dataset", type=Path, nargs="+", required=True, help="folders of datasets that were recorded alike")
    add("--checkpoint", required=True, help="folder or hub id of a GR00T checkpoint with statistics of the embodiment")
    add_embodiment(parser)
    add("--tokenizer", help="folder or hub id of the tokenizer assets (default: the checkpoint's own folder)")
    add("--episodes", type=int, default=5, help="the first of each dataset (default 5)")
    add(
        "--execute",
        type=int,
        help="actions of a chunk that are compared before the next decision (default: as the checkpoint's settings "
        "say, else all)",
    )
    add("--seed", type=int, default=0, help="seed of the noise (default 0)")
    add("--device", help="cpu, cuda:0, ... (default: the GPU if there is one); CUDA computes in bfloat16")
    add_pictures(parser)
    add("--plot", type=Path, help="PNG file to write, of the first episode; needs the extra report")
    add("--json", action="store_true", help="print a JSON table instead of text")


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit status.

    Raises:
        ConfigurationError: Something does not fit.
    """
    args = build_parser().parse_args(sys.argv[1:] if argv is None else argv)
    return _inspect(args) if args.action == "inspect" else _evaluate(args)


def _evaluate(args: argparse.Namespace) -> int:
    check_ways(args)
    if args.episodes < 1:
        raise ConfigurationError(f"--episodes is {args.episodes}; set 1 or more")
    if args.plot:
        import matplotlib  # noqa: F401  # before the network is loaded
    from ..sft.open_loop import as_text, evaluate
    from ..utils.devices import chosen_device
    from ..utils.whole_files import write_whole

    args.device = chosen_device(args.device)
    report, picture = evaluate(args)
    if picture is not None:
        write_whole(args.plot, picture)
    print(json.dumps(report, indent=2) if args.json else as_text(report))
    return 0


def _inspect(args: argparse.Namespace) -> int:
    from ..data.described import read_info
    from ..data.draft import draft_modality
    from ..data.inspection import as_text, inspect_dataset
    from ..data.layout import MODALITY, write_json

    folder = args.folder.expanduser()
    out = folder / MODALITY if args.write else args.out
    if out is not None and out.exists():
        raise ConfigurationError(f"{out} exists; a draft replaces nothing: give another --out, or remove it")
    trained = _statistics(args)
    report = inspect_dataset(folder, draft_modality(read_info(folder)) if out is not None else None, trained)
    if out is not None:
        write_json(out, draft_modality(read_info(folder)))
    print(json.dumps(report, indent=2) if args.json else as_text(report))
    if out is not None:
        print(f"{out}: a draft; check the keys, and `absolute` of each action", file=sys.stderr)
    return 0


def _statistics(args: argparse.Namespace):
    """The checkpoint's statistics of the embodiment that is meant; None without a checkpoint."""
    if args.checkpoint is None:
        if args.embodiment_tag is not None:
            raise ConfigurationError("--embodiment_tag names an embodiment of a checkpoint; give --checkpoint, too")
        return None
    from ..gr00t import CheckpointError, statistics_of

    try:
        found = statistics_of(args.checkpoint)
    except CheckpointError as error:
        raise ConfigurationError(f"--checkpoint {args.checkpoint}: {error}") from None
    if not found:
        raise ConfigurationError(f"--checkpoint {args.checkpoint} has no statistics; give one that was trained on data")
    tag = next(iter(found)) if args.embodiment_tag is None and len(found) == 1 else args.embodiment_tag
    if tag not in found:
        raise ConfigurationError(f"--embodiment_tag is {tag}; set one of the checkpoint's: {', '.join(sorted(found))}")
    return found[tag]
