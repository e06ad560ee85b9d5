# SPDX-License-Identifier: BSD-3-Clause
"""Options of a fine-tuning. Reading them loads neither torch nor a simulator."""

from __future__ import annotations

import argparse
import inspect
import math
from pathlib import Path

from ..gr00t.generations import TINY, generation
from ..utils.errors import ConfigurationError
from ..utils.folders import check_checkpoint_folder

DTYPES = ("float32", "bfloat16")
OFFICIAL = {"batch_size": 32, "draws": 1, "lr": 1e-4}
"""What the released fine-tuning script does, on a trained network."""
FROM_RANDOM = {"batch_size": 16, "draws": 8, "lr": 1e-3}
"""What serves a tiny random network, which takes long steps and whose backbone is the larger part of the work."""


NOTHING_SAID = (
    "nothing says what state and action are; give --task, whose agent declares the modality, or --embodiment_tag with "
    "the keys of the dataset's meta/modality.json, or --modality FILE"
)

SIZES = {name: tuple(inspect.signature(generation(name).Config.tiny).parameters) for name in TINY.values()}
"""Generation -> sizes of its tiny network."""
ALL_SIZES = tuple(dict.fromkeys(size for sizes in SIZES.values() for size in sizes))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a training, and one for each size of a tiny network."""
    add = parser.add_argument
    add("--dataset", type=Path, nargs="+", required=True, help="folders of LeRobot datasets that were recorded alike")
    add_embodiment(parser)
    add(
        "--checkpoint",
        required=True,
        help=f"{' or '.join(TINY)} (random weights), or folder or hub id of a GR00T checkpoint",
    )
    add("--out", type=Path, required=True, help="folder to write; an existing checkpoint is replaced")
    add("--tokenizer", help="folder or hub id of the tokenizer assets (default: the checkpoint's own folder)")
    add("--episodes", type=int, help="use only the first of each dataset (default: all)")
    add("--only_success", action="store_true", help="leave out episodes that are marked as failures")
    add("--steps", type=int, default=5000, help="gradient steps (default 5000)")
    for name, kind, what in (
        ("batch_size", int, "frames per step"),
        ("draws", int, "noises and times per frame and step"),
        ("lr", float, "learning rate after warm-up"),
    ):
        add(f"--{name}", type=kind, help=f"{what} (default {OFFICIAL[name]}, for tiny {FROM_RANDOM[name]})")
    add("--save_interval", type=int, default=500, help="steps between saves to OUT.resume.pt (default 500)")
    add("--seed", type=int, default=0, help="seed of weights, batches and noise (default 0)")
    for name, what in (
        ("visual", "the image encoder"),
        ("llm", "the language model"),
        ("projector", "encoders of state and action, decoder of actions"),
        ("diffusion_model", "the DiT"),
    ):
        add(f"--tune_{name}", action=argparse.BooleanOptionalAction, help=f"train {what}")
    add(
        "--new_head",
        action="store_true",
        help="train projector and diffusion model anew, on the checkpoint's features as they are",
    )
    add(
        "--grounding",
        type=float,
        default=0.0,
        metavar="WEIGHT",
        help="weight of telling the dataset's privileged observations from the features, beside the actions (default "
        "0: they are not told); needs `gr00t-rl collect --privileged` and --tune_visual, which tiny has",
    )
    add(
        "--augment",
        action="store_true",
        help="crop pictures and change their colours at random, as the released configs do; the backbone then runs in "
        "every step (default: pictures stay as they are)",
    )
    add("--dropout", type=float, help="dropout of the trained part (default: 0 for tiny, else the checkpoint's, 0.2)")
    add("--held_out", type=float, default=0.05, help="share of the episodes that is only evaluated (default 0.05)")
    add("--device", help="cpu, cuda:0, ... (default: the GPU if there is one); CUDA computes in bfloat16")
    add("--dtype", choices=DTYPES, default="float32", help="type of the weights on disk (default float32)")
    add_pictures(parser)
    add("--cache_gb", type=float, default=4.0, help="most memory for a frozen backbone's features (default 4)")
    sizes = parser.add_argument_group("sizes of tiny")
    for name in ALL_SIZES:
        sizes.add_argument(f"--{name}", type=int, metavar="N", help=argparse.SUPPRESS)
    sizes.description = "; ".join(
        f"{checkpoint} has " + ", ".join(f"--{size}" for size in SIZES[name]) for checkpoint, name in TINY.items()
    )


def add_embodiment(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which embodiment is meant, and what its numbers mean."""
    add = parser.add_argument
    add(
        "--task",
        help="task whose agent declares the modality; not needed where the checkpoint says its own "
        "(experiment_cfg/gr00t_rl.json, or an N1.7 checkpoint's files); else give --embodiment_tag or --modality",
    )
    add(
        "--modality",
        type=Path,
        metavar="FILE",
        help="JSON or YAML file with the keys, in the form of a dataset's meta/modality.json (and then instead of it) "
        "or with the fields of gr00t_rl.gr00t.Modality (default: the checkpoint's own, else the "
        "first dataset's meta/modality.json)",
    )
    add("--embodiment_tag", help="what the checkpoint calls the robot, where no task and no file says it")
    add(
        "--embodiment_id",
        type=int,
        help="row of the per-embodiment weights (default: the task's if it is not 0, else what the checkpoint says of "
        "the tag, else what NVIDIA's programs use for it)",
    )


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """Add the bound of the memory for pictures."""
    add = parser.add_argument
    add(
        "--pictures_gb",
        type=float,
        default=8.0,
        help="most memory for decoded pictures; of a larger dataset they are decoded as they are needed (default 8)",
    )


def complete_arguments(args: argparse.Namespace) -> None:
    """Fill in the defaults that depend on others, and refuse what cannot work, before anything is read.

    Raises:
        ConfigurationError: At the first option that cannot work.
    """
    from ..utils.devices import chosen_device  # loads torch

    check_ways(args)
    args.device = chosen_device(args.device)
    for name, value in (FROM_RANDOM if args.checkpoint in TINY else OFFICIAL).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    for name, holds, expected in (
        ("episodes", args.episodes is None or args.episodes >= 1, "1 or more"),
        ("steps", args.steps >= 1, "1 or more"),
        ("batch_size", args.batch_size >= 1, "1 or more"),
        ("draws", args.draws >= 1, "1 or more"),
        ("lr", 0 < args.lr < math.inf, "more than 0"),
        ("grounding", 0 <= args.grounding < math.inf, "0 or more"),
        ("save_interval", args.save_interval >= 1, "1 or more"),
        ("pictures_gb", args.pictures_gb > 0, "more than 0"),
        ("held_out", 0 <= args.held_out < 1, "0 or more, less than 1"),
        ("dropout", args.dropout is None or 0 <= args.dropout < 1, "0 or more, less than 1"),
    ):
        if not holds:
            raise ConfigurationError(f"--{name} is {getattr(args, name)}; set {expected}")
    if args.new_head and args.checkpoint in TINY:
        raise ConfigurationError(
            "--new_head trains a new head on a checkpoint's features, but --checkpoint is tiny, which has none; give "
            "another --checkpoint, or drop --new_head"
        )
    if args.new_head and not (args.tune_projector is args.tune_diffusion_model is None):
        raise ConfigurationError(
            "--new_head trains projector and diffusion model in any case; drop --[no-]tune_projector and "
            "--[no-]tune_diffusion_model"
        )
    if args.checkpoint in TINY and (foreign := sizes_of(args).keys() - set(SIZES[TINY[args.checkpoint]])):
        raise ConfigurationError(f"--{min(foreign)} is no size of --checkpoint {args.checkpoint}; drop it")
    if sizes_of(args) and args.checkpoint not in TINY:
        raise ConfigurationError(
            f"--{next(iter(sizes_of(args)))} sets a size, but --checkpoint {args.checkpoint} has its own; drop it"
        )
    check_checkpoint_folder("--out", args.out)


def sizes_of(args: argparse.Namespace) -> dict[str, int]:
    """The sizes of the tiny network that were given."""
    return {name: getattr(args, name) for name in ALL_SIZES if getattr(args, name) is not None}


def check_ways(args: argparse.Namespace) -> None:
    """Make sure that the embodiment is named in one way. Raises ConfigurationError."""
    others = {"--modality": args.modality, "--embodiment_tag": args.embodiment_tag}
    given = [name for name, value in others.items() if value is not None]
    if args.task is not None and given:
        raise ConfigurationError(
            f"--task declares the modality, and {given[0]} another; give --task, or {' and '.join(given)}, not both"
        )
    if args.task is None and not given and args.checkpoint in TINY:
        raise ConfigurationError(NOTHING_SAID)
