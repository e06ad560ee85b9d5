# SPDX-License-Identifier: BSD-3-Clause
"""Open-loop evaluation: what a checkpoint would do in recorded situations, beside what was done."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..data import Demonstrations
from ..gr00t import CheckpointError, Gr00tNetwork, Modality, PolicySettings, from_pretrained, generation, load_tokenizer
from ..utils.errors import ConfigurationError
from .embodiment import Embodiment, chosen_embodiment
from .samples import Samples

BATCH = 16
"""Decisions that are computed at once."""


class Compared(NamedTuple):
    """Actions of the frames F that were compared, in the env's units and order."""

    frames: Tensor
    """Their numbers, int64 [F]."""
    recorded: Tensor
    """float32 [F, A]"""
    predicted: Tensor
    """float32 [F, A]"""


def evaluate(args: argparse.Namespace) -> tuple[dict[str, Any], bytes | None]:
    """Load what ``gr00t-rl dataset evaluate`` names, and compare.

    Returns:
        The errors as a table that is ready for JSON, and a picture of them where ``--plot`` asks for it.

    Raises:
        ConfigurationError: Checkpoint, dataset and modality do not fit each other.
    """
    embodiment = chosen_embodiment(args)
    modality = embodiment.modality
    data = Demonstrations.load(
        args.dataset,
        episodes=args.episodes,
        cameras=list(modality.video),
        max_bytes=args.pictures_gb * 1e9,
        modality=embodiment.dataset,
    )
    try:
        return _evaluate(args, data.arranged(modality), embodiment)
    finally:
        data.close()


def _evaluate(
    args: argparse.Namespace, data: Demonstrations, embodiment: Embodiment
) -> tuple[dict[str, Any], bytes | None]:
    modality, settings = embodiment.modality, embodiment.settings
    device = torch.device(args.device)
    try:
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        model = from_pretrained(args.checkpoint, dtype=dtype)
        samples = load_samples(model, args, data, modality, device)
    except (CheckpointError, ValueError) as error:
        raise ConfigurationError(f"--checkpoint {args.checkpoint}: {error}") from None
    if embodiment.assumed:
        print(
            f"[gr00t_rl] warning: no file of --checkpoint {args.checkpoint} says how it was trained: its keys are "
            "taken in the order of modality.json, scaled by minimum and maximum, and pictures whole. If the errors are "
            "large, give the keys as its data config has them (--modality FILE, normalization, sin_cos, video_crop)",
            file=sys.stderr,
        )
    horizon = model.config.action_head.action_horizon
    known = samples.processor.known_embodiment(model.assets, modality.embodiment_tag)
    own = settings.n_action_steps if settings else None
    execute = args.execute or own or min(horizon, known.steps or horizon)
    if not 1 <= execute <= (known.steps or horizon):
        raise ConfigurationError(f"--execute is {execute}; set 1 to {known.steps or horizon}, the steps of a chunk")
    compared = compare(model.to(device), samples, data, modality, execute, args.seed, settings)
    report = errors_of(compared, modality) | {"episodes": data.num_episodes, "execute": execute}
    return report, plot(compared, data.start, modality) if args.plot else None


def load_samples(
    model: Gr00tNetwork, args: argparse.Namespace, data: Demonstrations, modality: Modality, device: torch.device
) -> Samples:
    """The demonstrations as the network takes them, scaled by the checkpoint's own statistics.

    Raises:
        CheckpointError, ValueError: The checkpoint knows no such embodiment, or other keys.
    """
    of = generation(model.config.generation).Processor
    of.known_embodiment(model.assets, modality.embodiment_tag).check(modality.embodiment_tag, args.embodiment_id, 1)
    processor = of(
        model.config,
        load_tokenizer(args.tokenizer or args.checkpoint),
        data.instructions,
        modality=modality,
        statistics=of.read_statistics(model.assets, modality),
        image_sizes=[*data.layout.cameras.values()],
        assets=model.assets,
    )
    model.action_head.slice_embodiment(args.embodiment_id)
    return Samples(data, processor, model.config.action_head.action_horizon, device)


@torch.no_grad()
def compare(
    model: Gr00tNetwork,
    samples: Samples,
    data: Demonstrations,
    modality: Modality,
    execute: int,
    seed: int = 0,
    settings: PolicySettings | None = None,
) -> Compared:
    """Let the network decide every ``execute`` frames of each episode, and take so many actions of its chunk.

    Args:
        model: Of one embodiment, on the samples' device.
        samples: Of ``data``.
        data: The demonstrations, arranged as ``modality`` has them.
        modality: The embodiment's keys.
        execute: Actions of a chunk that are compared; fewer at an episode's end.
        seed: Of the noise from which chunks are made.
        settings: How the policy denoises; None: as the network was trained.
    """
    device, config = samples.device, model.config.action_head
    ends = data.start[1:]
    decisions = torch.cat(
        [torch.arange(int(a), int(b), execute) for a, b in zip(data.start[:-1], ends, strict=True)]
    )  # [D]
    generator = torch.Generator().manual_seed(seed)
    scale = settings.init_noise_scale if settings else 1.0
    steps = (settings and settings.num_inference_timesteps) or config.num_inference_timesteps
    chunks = []
    for rows in samples.in_turn(decisions.to(device), BATCH):
        noise = scale * torch.randn(len(rows), config.action_horizon, config.action_dim, generator=generator)
        chunk = model.decide(
            samples.processor, samples.pixels(rows), samples.task[rows], samples.state[rows], noise.to(device), steps
        )
        state = data.state[rows.cpu()].to(device)
        chunks.append(samples.processor.action(chunk, modality.action_dim, state)[:, :execute].float().cpu())
    frames = decisions[:, None] + torch.arange(execute)  # [D, execute]
    inside = frames < ends[data.episode[decisions]][:, None]
    return Compared(frames[inside], data.action[frames[inside]], torch.cat(chunks)[inside])


def errors_of(compared: Compared, modality: Modality) -> dict[str, Any]:
    """Mean squared and mean absolute errors, in all, per key and per dimension, beside how much is recorded to vary."""
    difference = (compared.predicted - compared.recorded).double()
    keys = {}
    for name, key in modality.action.items():
        part, recorded = difference[:, key.start : key.end], compared.recorded[:, key.start : key.end].double()
        keys[name] = _errors(part) | {
            "dimensions": [_errors(column) for column in part.unbind(1)],
            "recorded_variance": recorded.var(0, correction=0).tolist(),
        }
    return _errors(difference) | {"frames": len(compared.frames), "action": keys}


def _errors(difference: Tensor) -> dict[str, float]:
    return {"mse": difference.square().mean().item(), "mae": difference.abs().mean().item()}


def as_text(report: Mapping[str, Any]) -> str:
    """The errors for a person."""
    lines = [
        f"{report['frames']} frames of {report['episodes']} episodes, {report['execute']} actions of each chunk; in "
        "the actions' own units",
        f"{'key':20} {'dim':>4} {'MSE':>12} {'MAE':>12} {'MSE / variance':>15}",
        f"{'all':20} {'':>4} {report['mse']:12.4g} {report['mae']:12.4g}",
    ]
    for name, key in report["action"].items():
        lines.append(f"{name:20} {'':>4} {key['mse']:12.4g} {key['mae']:12.4g}")
        for index, (found, variance) in enumerate(zip(key["dimensions"], key["recorded_variance"], strict=True)):
            share = f"{found['mse'] / variance:15.3f}" if variance > 0 else f"{'constant':>15}"
            lines.append(f"{'':20} {index:>4} {found['mse']:12.4g} {found['mae']:12.4g} {share}")
    return "\n".join(lines)


def plot(compared: Compared, start: Tensor, modality: Modality) -> bytes:
    """PNG of recorded and predicted actions of the first episode, a panel per dimension; needs the extra ``report``."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = compared.frames < start[1]
    names = [(f"{name} {i}", key.start + i) for name, key in modality.action.items() for i in range(key.dim)]
    columns = min(4, len(names))
    lines = -(-len(names) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(3.4 * columns, 2.2 * lines), squeeze=False, constrained_layout=True
    )
    for axis, (name, column) in zip(axes.flat, names, strict=False):
        axis.plot(compared.frames[rows], compared.recorded[rows, column], label="recorded", color="black", lw=1)
        axis.plot(compared.frames[rows], compared.predicted[rows, column], label="predicted", color="tab:orange", lw=1)
        axis.set_title(name, fontsize=9)
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    axes[0, 0].legend(fontsize=7)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    plt.close(figure)
    return file.getvalue()
