# SPDX-License-Identifier: BSD-3-Clause
"""Train GR00T N1.5 on demonstrations by flow matching, and write a checkpoint in the official layout.

Usage::

    python source/standalone/tools/finetune.py --dataset datasets/push --task Gr00t-Push-Cube-Franka-Camera \\
        --checkpoint tiny --out checkpoints/push --steps 5000

    python source/standalone/tools/finetune.py --dataset datasets/push --task Gr00t-Push-Cube-Franka-Camera \\
        --checkpoint /path/to/gr00t_n1d5 --tokenizer /path/to/eagle_assets --embodiment_id 31 --out checkpoints/big

A run that was interrupted goes on by the same command: every ``--save_interval`` steps it leaves its state in
``OUT.resume.pt``, which is removed when the checkpoint is written.

``tiny`` is a small random network, whose sizes are options; all of it is trained. Of other checkpoints, the projector
and the diffusion model are. See docs/demonstrations.md.
"""

from __future__ import annotations

import argparse
import glob
import inspect
import io
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from grounding import Grounding
from supervised import Recipe, Samples, Trainer, Training, Tuned, split_episodes
from task_modality import agent_cfg_of, modality_of
from torch import nn
from tqdm import tqdm

from gr00t_rl.data import Demonstrations
from gr00t_rl.gr00t import (
    METADATA_FILE,
    CheckpointError,
    Gr00tN1d5,
    Gr00tN1d5Config,
    Gr00tProcessor,
    Modality,
    Statistics,
    load_tokenizer,
    make_metadata,
    tiny_tokenizer,
    tokenizer_assets,
)
from gr00t_rl.utils.errors import ConfigurationError
from gr00t_rl.utils.whole_files import partial_of, remove_leftovers, write_whole

TINY = "tiny"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
OFFICIAL = {"batch_size": 32, "draws": 1, "lr": 1e-4}
"""What the released fine-tuning script does, on a trained network."""
FROM_RANDOM = {"batch_size": 16, "draws": 8, "lr": 1e-3}
"""What serves a tiny random network, which takes long steps and whose backbone is the larger part of the work."""
LOG_FILE = "experiment_cfg/finetune.json"
"""Settings and losses, beside the checkpoint's metadata."""
LOG_POINTS = 100
"""Points of the loss curve."""


def build_parser() -> argparse.ArgumentParser:
    """Options of the training, and one for each size of ``Gr00tN1d5Config.tiny``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--dataset", type=Path, nargs="+", required=True, help="folders of LeRobot datasets that were recorded alike")
    add("--task", required=True, help="task whose agent declares the modality")
    add("--checkpoint", required=True, help="'tiny', or folder or hub id of a GR00T N1.5 checkpoint")
    add("--out", type=Path, required=True, help="folder to write; an existing checkpoint is replaced")
    add("--tokenizer", help="folder or hub id of the Eagle tokenizer assets (default: the checkpoint's own folder)")
    add("--embodiment_id", type=int, help="row of the per-embodiment weights to train (default: the task's agent's)")
    add("--episodes", type=int, help="use only the first of each dataset (default: all)")
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
        "0: they are not told); needs collect_demonstrations.py --privileged and --tune_visual, which tiny has",
    )
    add("--dropout", type=float, help="dropout of the trained part (default: 0 for tiny, else the checkpoint's, 0.2)")
    add("--held_out", type=float, default=0.05, help="share of the episodes that is only evaluated (default 0.05)")
    add("--device", help="cpu, cuda:0, ... (default: the GPU if there is one); CUDA computes in bfloat16")
    add("--dtype", choices=DTYPES, default="float32", help="type of the weights on disk (default float32)")
    add("--cache_gb", type=float, default=4.0, help="most memory for a frozen backbone's features (default 4)")
    sizes = parser.add_argument_group("sizes of tiny")
    for name in inspect.signature(Gr00tN1d5Config.tiny).parameters:
        sizes.add_argument(f"--{name}", type=int, metavar="N", help=argparse.SUPPRESS)
    sizes.description = "every keyword of Gr00tN1d5Config.tiny: " + ", ".join(
        f"--{name}" for name in inspect.signature(Gr00tN1d5Config.tiny).parameters
    )
    return parser


def complete_arguments(args: argparse.Namespace) -> None:
    """Fill in the defaults that depend on others, and refuse what cannot work, before anything is read.

    Raises:
        ConfigurationError: At the first option that cannot work.
    """
    args.device = args.device or ("cuda:0" if torch.cuda.is_available() else "cpu")
    for name, value in (FROM_RANDOM if args.checkpoint == TINY else OFFICIAL).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    for name, holds, expected in (
        ("episodes", args.episodes is None or args.episodes >= 1, "1 or more"),
        ("steps", args.steps >= 1, "1 or more"),
        ("batch_size", args.batch_size >= 1, "1 or more"),
        ("draws", args.draws >= 1, "1 or more"),
        ("lr", args.lr > 0, "more than 0"),
        ("grounding", args.grounding >= 0, "0 or more"),
        ("save_interval", args.save_interval >= 1, "1 or more"),
        ("held_out", 0 <= args.held_out < 1, "0 or more, less than 1"),
        ("dropout", args.dropout is None or 0 <= args.dropout < 1, "0 or more, less than 1"),
    ):
        if not holds:
            raise ConfigurationError(f"--{name} is {getattr(args, name)}; set {expected}")
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigurationError(f"--device {args.device}, but this machine has no CUDA GPU; set --device cpu")
    if args.new_head and args.checkpoint == TINY:
        raise ConfigurationError(
            "--new_head trains a new head on a checkpoint's features, but --checkpoint is tiny, which has none; give "
            "another --checkpoint, or drop --new_head"
        )
    if args.new_head and not (args.tune_projector is args.tune_diffusion_model is None):
        raise ConfigurationError(
            "--new_head trains projector and diffusion model in any case; drop --[no-]tune_projector and "
            "--[no-]tune_diffusion_model"
        )
    if sizes_of(args) and args.checkpoint != TINY:
        raise ConfigurationError(
            f"--{next(iter(sizes_of(args)))} sets a size, but --checkpoint {args.checkpoint} has its own; drop it"
        )
    # the same checks as at the save, hours earlier
    config = args.out / "config.json"
    if args.out.exists() and (not args.out.is_dir() or (any(args.out.iterdir()) and not config.is_file())):
        raise ConfigurationError(f"--out {args.out} exists and is no checkpoint; give a new folder")


def sizes_of(args: argparse.Namespace) -> dict[str, int]:
    """The sizes of the tiny network that were given."""
    names = inspect.signature(Gr00tN1d5Config.tiny).parameters
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def tuned_parts(args: argparse.Namespace) -> Tuned:
    """What is trained: everything of tiny, projector and diffusion model of other checkpoints, and what was asked."""
    default = Tuned(visual=True, llm=True) if args.checkpoint == TINY else Tuned()
    given = {name: getattr(args, f"tune_{name}") for name in ("visual", "llm", "projector", "diffusion_model")}
    parts = {name: getattr(default, name) if value is None else value for name, value in given.items()}
    tuned = Tuned(**parts, vl_self_attention=not args.new_head)
    if not any(parts.values()):
        raise ConfigurationError("nothing is trained; leave out one of the --no-tune_...")
    return tuned


def load_network(args: argparse.Namespace, data: Demonstrations) -> tuple[Gr00tN1d5, Any]:
    """The network in float32, cut to one embodiment, and its tokenizer.

    Raises:
        ConfigurationError: Checkpoint, tokenizer, sizes or embodiment are wrong.
    """
    try:
        if args.checkpoint == TINY:
            config = Gr00tN1d5Config.tiny(**{**camera_sizes(data), **sizes_of(args)})
            model, tokenizer = Gr00tN1d5.from_config(config, seed=args.seed), tiny_tokenizer(config)
            model.assets = tokenizer_assets(tokenizer)
        else:
            model = Gr00tN1d5.from_pretrained(args.checkpoint, dtype=torch.float32)
            tokenizer = load_tokenizer(args.tokenizer or args.checkpoint)
        if args.new_head:
            renew_head(model, args.seed)
        model.action_head.slice_embodiment(args.embodiment_id)
    except (CheckpointError, ValueError) as error:
        raise ConfigurationError(f"--checkpoint {args.checkpoint}: {error}") from None
    dropout = 0.0 if args.dropout is None and args.checkpoint == TINY else args.dropout
    if dropout is not None:
        for module in model.action_head.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
    return model, tokenizer


def renew_head(model: Gr00tN1d5, seed: int) -> None:
    """Give the network a new projector and diffusion model; what makes the features stays."""
    new, head = Gr00tN1d5.from_config(model.config, seed=seed).action_head, model.action_head
    for name, part in new.named_children():
        if name not in ("vlln", "vl_self_attention"):
            setattr(head, name, part)


def camera_sizes(data: Demonstrations) -> dict[str, int]:
    """Sizes of a tiny network that takes the pictures as they are, in eight patches a side."""
    side = next((height for height, _ in data.layout.cameras.values()), 64)
    side = side if side % 8 == 0 else 64
    return {"image_size": side, "patch_size": side // 8}


def grounding_of(args: argparse.Namespace, data: Demonstrations, model: Gr00tN1d5, tuned: Tuned) -> Grounding | None:
    """What tells the dataset's privileged observations from the features, if ``--grounding`` asks for it.

    Raises:
        ConfigurationError: There is nothing to tell, nothing to tell it from, or nothing that could learn it.
    """
    if not args.grounding:
        return None
    for holds, problem in (
        (data.layout.privileged, "the dataset has no privileged observations; collect it with --privileged TERM ..."),
        (data.layout.cameras, "the dataset has no pictures to tell anything from; leave it out"),
        (tuned.visual, "the image encoder is not trained; give --tune_visual"),
    ):
        if not holds:
            raise ConfigurationError(f"--grounding {args.grounding}: {problem}")
    head = model.config.action_head
    return Grounding(data.privileged, head.backbone_embedding_dim, head.max_state_dim, args.grounding).to(args.device)


def write_metadata(model: Gr00tN1d5, modality: Modality, statistics: Statistics, data: Demonstrations) -> None:
    """Put the statistics into the checkpoint's metadata; those of other embodiments stay."""
    height, width = next(iter(data.layout.cameras.values()), (0, 0))
    ours = make_metadata(modality, statistics, (width, height), data.layout.fps)
    before = json.loads(model.assets.get(METADATA_FILE, b"{}"))
    model.assets[METADATA_FILE] = (json.dumps(before | ours, indent=2) + "\n").encode()


def as_statistics(data: Demonstrations) -> Statistics:
    """The datasets' statistics as tensors."""
    parts = data.statistics()
    return Statistics(
        *(
            {key: {name: torch.tensor(values) for name, values in table.items()} for key, table in parts[part].items()}
            for part in ("state", "action")
        )
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Train as the command line says."""
    args = build_parser().parse_args(argv)
    complete_arguments(args)
    agent_cfg = agent_cfg_of(args.task)
    modality = modality_of(agent_cfg, args.task)
    if args.embodiment_id is None:
        args.embodiment_id = agent_cfg.actor.embodiment_id
    tuned = tuned_parts(args)
    data = Demonstrations.load(args.dataset, episodes=args.episodes)
    data.check(modality)
    finetune(args, data, modality, tuned)


def finetune(args: argparse.Namespace, data: Demonstrations, modality: Modality, tuned: Tuned) -> dict[str, Any]:
    """Train, write the checkpoint, and return what goes into its log.

    Raises:
        ConfigurationError: The demonstrations do not fit the network, or the checkpoint cannot be written.
    """
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    device = torch.device(args.device)
    model, tokenizer = load_network(args, data)
    statistics = as_statistics(data)
    try:
        processor = Gr00tProcessor(model.config, tokenizer, data.instructions, modality=modality, statistics=statistics)
        samples = Samples(data, processor, model.config.action_head.action_horizon, device)
    except ValueError as error:
        raise ConfigurationError(f"--dataset {' '.join(map(str, args.dataset))}: {error}") from None
    write_metadata(model, modality, statistics, data)
    grounding = grounding_of(args, data, model, tuned)
    trainer = Trainer(model.to(device), samples, tuned, args.cache_gb * 1e9, device.type == "cuda", grounding)
    recipe = Recipe(args.steps, args.batch_size, args.lr, draws=args.draws)
    train, held_out = (
        torch.isin(data.episode, episodes).nonzero().flatten()
        for episodes in split_episodes(data.num_episodes, args.held_out, generator)
    )
    print(
        f"{data.num_episodes} episodes, {len(data)} frames ({len(held_out)} held out), {len(data.instructions)} "
        f"instructions; {sum(p.numel() for p in trainer.parameters) / 1e6:.2f} of "
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters are trained"
        f"{', features are cached' if trainer.is_cached else ''}"
    )
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()}
    settings["dataset"] = [str(root) for root in args.dataset]
    training = Training(trainer, train, recipe, generator)
    saved = SavedTraining(args.out.with_name(f"{args.out.name}.resume.pt"), settings, args.save_interval)
    log = train_and_log(training, held_out, saved)
    log["settings"] = settings
    if grounding is not None and len(held_out):
        errors = trainer.evaluate_grounding(held_out, args.batch_size)
        log["held_out_grounding_rmse"] = dict(zip(data.layout.privileged, errors, strict=True))
        print("grounding, RMSE:", ", ".join(f"{name} {e:.4f}" for name, e in log["held_out_grounding_rmse"].items()))
    model.assets[LOG_FILE] = (json.dumps(log, indent=2) + "\n").encode()
    try:
        model.to(device="cpu", dtype=DTYPES[args.dtype]).save_pretrained(args.out)
    except CheckpointError as error:
        raise ConfigurationError(f"--out {args.out}: {error}") from None
    saved.remove()
    losses = [f"{name} {log[name]:.4f}" for name in ("train_loss", "held_out_loss") if log[name] is not None]
    print(f"{args.out}: {', '.join(losses)}, {log['seconds']:.0f} s")
    return log


@dataclass
class SavedTraining:
    """The state of a training on disk, whole or not there, for as long as its checkpoint is not written."""

    file: Path
    settings: dict[str, Any]
    """What the training was asked to do; another one's state is refused."""
    interval: int
    """Steps between two saves."""

    def save(self, training: Training, curve: list[dict[str, Any]], recent: list[torch.Tensor]) -> None:
        """Replace the file, with the loss curve and the losses since its last point."""
        content = {"settings": self.settings, "training": training.state_dict(), "curve": curve, "recent": recent}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_whole(self.file, buffer.getvalue())

    def remove(self) -> None:
        """Remove the file, and one that was left half written."""
        self.file.unlink(missing_ok=True)
        remove_leftovers(self.file.parent, glob.escape(partial_of(self.file).name))

    def load(self, training: Training) -> tuple[list[dict[str, Any]], list[torch.Tensor]]:
        """Go on with what the file holds, if there is one; returns the curve and the losses since its last point.

        Raises:
            ConfigurationError: The file is of another training, or is none.
        """
        if not self.file.exists():
            return [], []
        try:
            content = torch.load(self.file, map_location="cpu", weights_only=True)
            found = content["settings"]
        except Exception as error:
            raise ConfigurationError(f"{self.file} cannot be read ({type(error).__name__}); remove it") from None
        for name, value in self.settings.items():
            if name != "save_interval" and found.get(name) != value:
                raise ConfigurationError(
                    f"{self.file} is of a run with --{name} {found.get(name)}, this one has {value}; give the same "
                    "settings to go on with it, or remove it"
                )
        training.load_state_dict(content["training"])
        print(f"going on at step {training.step} from {self.file}")
        return content["curve"], content["recent"]


def train_and_log(training: Training, held_out: torch.Tensor, saved: SavedTraining) -> dict[str, Any]:
    """Train with a progress bar; returns the loss curves: points of (step, mean loss since the last, held-out loss)."""
    trainer, recipe = training.trainer, training.recipe
    every = max(1, recipe.steps // LOG_POINTS)
    # without held-out frames there is nothing to evaluate
    evaluate = (lambda: trainer.evaluate(held_out, recipe.batch_size)) if len(held_out) else (lambda: None)
    first, began = evaluate(), time.monotonic()
    curve, recent = saved.load(training)
    with tqdm(total=recipe.steps, initial=training.step, unit="step") as bar:
        while training.step < recipe.steps:
            try:
                recent.append(training.advance())
            except FloatingPointError as error:
                raise ConfigurationError(f"{error}; no checkpoint is written: set a smaller --lr") from None
            step = training.step
            bar.update()
            if step % every == 0 or step == recipe.steps:
                curve.append({"step": step, "train_loss": round(torch.stack(recent).mean().item(), 6)})
                recent.clear()
                if step % (10 * every) == 0 and step != recipe.steps:
                    curve[-1]["held_out_loss"] = evaluate()
                bar.set_postfix({key: f"{value:.4f}" for key, value in curve[-1].items() if value and key != "step"})
            if step % saved.interval == 0 and step != recipe.steps:
                saved.save(training, curve, recent)
    last = [point["train_loss"] for point in curve[-max(1, len(curve) // 20) :]]
    return {
        "train_loss": sum(last) / len(last),
        "held_out_loss": evaluate(),
        "held_out_loss_before": first,
        "seconds": round(time.monotonic() - began, 1),
        "curve": curve,
    }


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # libraries of the simulator, which the task's cfg loads, take seconds to unload
