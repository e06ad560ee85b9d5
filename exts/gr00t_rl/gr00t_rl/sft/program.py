# SPDX-License-Identifier: BSD-3-Clause
"""A fine-tuning from its options to the checkpoint: what `gr00t-rl finetune` runs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..data import Demonstrations
from ..gr00t import TINY, CheckpointError, Gr00tNetwork, Modality, PolicySettings, generation
from ..gr00t.as_trained import trained_row
from ..gr00t.checkpoint import SETTINGS_FILE
from ..gr00t.n1d5.processor import RELEASED_CROP
from ..utils.errors import ConfigurationError
from .augmentation import Augmentation
from .embodiment import chosen_embodiment
from .grounding import Grounding
from .network import as_statistics, load_network, with_relative, write_statistics
from .parts import Tuned
from .samples import Samples, split_episodes
from .saved import SavedTraining
from .trainer import Trainer
from .training import Recipe, Training

LOG_FILE = "experiment_cfg/finetune.json"
"""Settings and losses, beside the checkpoint's metadata."""
LOG_POINTS = 100
"""Points of the loss curve."""


def run(args: argparse.Namespace) -> None:
    """Train as the completed options say."""
    embodiment = chosen_embodiment(args)
    modality = embodiment.modality
    tuned = tuned_parts(args)
    data = Demonstrations.load(
        args.dataset,
        args.only_success,
        args.episodes,
        cameras=list(modality.video),
        max_bytes=args.pictures_gb * 1e9,
        modality=embodiment.dataset,
    )
    if failures := int((~data.success).sum()):
        print(
            f"[gr00t_rl] warning: {failures} of {data.num_episodes} episodes are marked as failures and are imitated, "
            "too; --only_success leaves them out"
        )
    try:
        finetune(args, data.arranged(modality), modality, tuned)
    finally:
        data.close()


def finetune(args: argparse.Namespace, data: Demonstrations, modality: Modality, tuned: Tuned) -> dict[str, Any]:
    """Train, write the checkpoint, and return what goes into its log.

    Raises:
        ConfigurationError: The demonstrations do not fit the network, or the checkpoint cannot be written.
    """
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    device = torch.device(args.device)
    model, tokenizer = load_network(args, data)
    modality = with_crop(args, modality, model)
    row = trained_row(generation(model.config.generation).Processor, model.assets, modality.embodiment_tag)
    if row not in (None, args.embodiment_id):
        raise ConfigurationError(
            f"--embodiment_id is {args.embodiment_id}, but the checkpoint says {row} for "
            f"{modality.embodiment_tag!r}; give that"
        )
    try:
        statistics = with_relative(as_statistics(data), model, modality, data)
        write_statistics(model, modality, statistics, data, args.embodiment_id)
        processor = generation(model.config.generation).Processor(
            model.config,
            tokenizer,
            data.instructions,
            modality=modality,
            statistics=statistics,
            image_sizes=[*data.layout.cameras.values()],
            assets=model.assets,
        )
        model.assets[SETTINGS_FILE] = settings_of(args, data, modality).to_bytes()
        samples = Samples(data, processor, model.config.action_head.action_horizon, device)
    except CheckpointError as error:
        raise ConfigurationError(f"--checkpoint {args.checkpoint}: {error}") from None
    except ValueError as error:
        raise ConfigurationError(f"--dataset {' '.join(map(str, args.dataset))}: {error}") from None
    grounding = grounding_of(args, data, model, tuned)
    augmentation = augmentation_of(args, data, modality)
    trainer = Trainer(
        model.to(device), samples, tuned, args.cache_gb * 1e9, device.type == "cuda", grounding, augmentation
    )
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
        f"{', pictures are decoded as they are needed' if samples.cache and not trainer.is_cached else ''}"
    )
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()}
    settings["dataset"] = [str(root) for root in args.dataset]
    training = Training(trainer, train, recipe, generator)
    saved = SavedTraining(args.out.with_name(f"{args.out.name}.resume.pt"), settings, args.save_interval, data.digest())
    log = train_and_log(training, held_out, saved)
    log["settings"] = settings
    if grounding is not None and len(held_out):
        errors = trainer.evaluate_grounding(held_out, args.batch_size)
        log["held_out_grounding_rmse"] = dict(zip(data.layout.privileged, errors, strict=True))
        print("grounding, RMSE:", ", ".join(f"{name} {e:.4f}" for name, e in log["held_out_grounding_rmse"].items()))
    model.assets[LOG_FILE] = (json.dumps(log, indent=2) + "\n").encode()
    try:
        model.to(device="cpu", dtype=getattr(torch, args.dtype)).save_pretrained(args.out)
    except CheckpointError as error:
        raise ConfigurationError(f"--out {args.out}: {error}") from None
    saved.remove()
    losses = [f"{name} {log[name]:.4f}" for name in ("train_loss", "held_out_loss") if log[name] is not None]
    print(f"{args.out}: {', '.join(losses)}, {log['seconds']:.0f} s")
    return log


def settings_of(args: argparse.Namespace, data: Demonstrations, modality: Modality) -> PolicySettings:
    """What the checkpoint's own files do not say of how it is run: whole chunks, of the pictures and at the rate of
    the demonstrations.
    """
    return PolicySettings(
        modality,
        args.embodiment_id,
        instructions=list(data.instructions),
        image_sizes=dict(data.layout.cameras),
        control_hz=data.layout.fps,
        simulator=dict(data.layout.simulator),
    )


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


def tuned_parts(args: argparse.Namespace) -> Tuned:
    """What is trained: everything of tiny, projector and diffusion model of other checkpoints, and what was asked."""
    default = Tuned(visual=True, llm=True) if args.checkpoint in TINY else Tuned()
    given = {name: getattr(args, f"tune_{name}") for name in ("visual", "llm", "projector", "diffusion_model")}
    parts = {name: getattr(default, name) if value is None else value for name, value in given.items()}
    tuned = Tuned(**parts, vl_self_attention=not args.new_head)
    if not any(parts.values()):
        raise ConfigurationError("nothing is trained; leave out one of the --no-tune_...")
    return tuned


def with_crop(args: argparse.Namespace, modality: Modality, model: Gr00tNetwork) -> Modality:
    """The modality, with the released data configs' crop if ``--augment`` asks for it and nothing says another.

    A policy that was trained on random crops is run on the middle of its pictures, so that the modality is where it
    belongs.
    """
    if not args.augment or modality.video_crop < 1 or generation(model.config.generation).Processor.crops_itself:
        return modality
    return dataclasses.replace(modality, video_crop=RELEASED_CROP)


def augmentation_of(args: argparse.Namespace, data: Demonstrations, modality: Modality) -> Augmentation | None:
    """What changes the pictures in training, if ``--augment`` asks for it.

    Raises:
        ConfigurationError: There are no pictures.
    """
    if not args.augment:
        return None
    if not data.pictures:
        raise ConfigurationError("--augment changes pictures, but the modality has no camera; drop it")
    return Augmentation(modality.video_crop)


def grounding_of(args: argparse.Namespace, data: Demonstrations, model: Gr00tNetwork, tuned: Tuned) -> Grounding | None:
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
