# SPDX-License-Identifier: BSD-3-Clause
"""``gr00t-rl dataset``: look into a dataset of demonstrations."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ..utils.errors import ConfigurationError
from . import verb_parser

DESCRIPTION = """Look into datasets in the LeRobot layout (v2.0, v2.1, v3.0).

inspect says what is in one: version, rate, cameras, episodes, tasks, the range of each dimension, and what is strange
about it (numbers that never change or are none, files that do not fit). With --checkpoint it says which values lie
outside the range that the checkpoint's data had. Where there is no meta/modality.json, --write drafts one; edit it."""
EXAMPLES = """
  gr00t-rl dataset inspect datasets/push
  gr00t-rl dataset inspect datasets/mine --write
  gr00t-rl dataset inspect datasets/push --checkpoint checkpoints/push --json"""


def build_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = verb_parser("dataset", DESCRIPTION, EXAMPLES)
    actions = parser.add_subparsers(dest="action", required=True, metavar="inspect")
    inspect = actions.add_parser("inspect", help="say what is in a dataset", allow_abbrev=False)
    add = inspect.add_argument
    add("folder", type=Path, help="folder of the dataset")
    add("--checkpoint", help="folder or hub id of a GR00T checkpoint, to compare the values with its statistics")
    add("--embodiment_tag", help="embodiment whose statistics are meant, where the checkpoint has several")
    add("--json", action="store_true", help="print a JSON table instead of text")
    draft = inspect.add_mutually_exclusive_group()
    draft.add_argument("--write", action="store_true", help="write the drafted meta/modality.json into the dataset")
    draft.add_argument("--out", type=Path, help="write the drafted modality.json to this new file")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit status.

    Raises:
        ConfigurationError: Something does not fit.
    """
    args = build_parser().parse_args(sys.argv[1:] if argv is None else argv)
    return _inspect(args)


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
