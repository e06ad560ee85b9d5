# SPDX-License-Identifier: BSD-3-Clause
"""From what ``--checkpoint`` names to a policy that can be served."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from ..gr00t import Gr00tNetwork, PolicySettings, from_pretrained, generation, load_tokenizer, settings_of_checkpoint
from ..gr00t.checkpoint import SETTINGS_FILE, resolve_folder
from ..gr00t.tokenizer import tokenizer_of
from ..utils.errors import ConfigurationError
from ..utils.foreign_files import parse_json_or_yaml, read_text
from .policy import ServedPolicy

LARGE = 1e9
"""Weights from which a network runs in bfloat16 where no type is given [bytes, as they are stored]."""


@dataclass(frozen=True)
class Choices:
    """What was asked for in place of what the checkpoint says; None: as it says."""

    settings: Path | None = None
    """File in the form of ``experiment_cfg/gr00t_rl.json``, JSON or YAML."""
    embodiment_tag: str | None = None
    """Embodiment, of a checkpoint whose own files declare several (N1.7)."""
    tokenizer: str | None = None
    """Folder or hub id of the tokenizer."""
    base: str | None = None
    """Base weights of a run."""
    dtype: str | None = None
    """"float32" or "bfloat16"; None: bfloat16 for networks of the released size."""
    device: str = "cpu"
    num_inference_timesteps: int | None = None
    init_noise_scale: float | None = None
    seed: int = 0


def load_policy(run_file: Path | None, folder: str | None, choices: Choices) -> ServedPolicy:
    """Load a policy.

    Args:
        run_file: ``model_N.pt`` of a run, or
        folder: the folder or hub id of a GR00T checkpoint.
        choices: What was asked for.

    Raises:
        ConfigurationError: Something is missing or does not fit.
    """
    given = None if choices.settings is None else read_settings(choices.settings)
    try:
        if run_file is not None:
            network, tokenizer, settings = _of_run(run_file, given, choices)
        else:
            assert folder is not None
            network, tokenizer, settings = _of_folder(folder, given, choices)
        changed = {name: getattr(choices, name) for name in ("num_inference_timesteps", "init_noise_scale")}
        settings = dataclasses.replace(settings, **{name: v for name, v in changed.items() if v is not None})
        processor = generation(network.config.generation).Processor
        tag = settings.modality.embodiment_tag
        processor.known_embodiment(network.assets, tag).check(tag, settings.embodiment_id, settings.n_action_steps or 1)
        try:
            statistics = processor.read_statistics(network.assets, settings.modality)
        except ValueError as error:
            raise ValueError(f"modality.{error}") from None
        network.to(torch.device(choices.device)).eval().requires_grad_(False)
        policy = ServedPolicy(network, tokenizer, settings, statistics, choices.seed)
        policy.act(policy.example())  # what does not fit shows here, and the first client need not wait for it
    except ConfigurationError:
        raise
    except ValueError as error:  # a CheckpointError is one
        raise ConfigurationError(f"--checkpoint {run_file or folder}: {error}") from None
    return policy


def read_settings(file: Path) -> PolicySettings:
    """Read a file in the form of ``experiment_cfg/gr00t_rl.json``.

    Raises:
        ConfigurationError: It is missing, not readable, or does not hold such settings.
    """
    try:
        return PolicySettings.from_dict(parse_json_or_yaml(read_text(file)))
    except OSError as error:
        raise ConfigurationError(
            f"--settings {file} cannot be read ({error.strerror or error}); set another file"
        ) from None
    except (RecursionError, yaml.YAMLError) as error:
        raise ConfigurationError(f"--settings {file} is neither JSON nor YAML ({error}); correct it") from None
    except ValueError as error:
        raise ConfigurationError(f"--settings {file}: {error}") from None


def _of_run(file: Path, given: PolicySettings | None, choices: Choices) -> tuple[Gr00tNetwork, Any, PolicySettings]:
    """Network, tokenizer and settings of a training run."""
    from ..models.trained import policy_settings, trained_network

    settings = given or policy_settings(file)
    if settings is None:
        raise ConfigurationError(
            f"--checkpoint {file}: the run had no agent.actor.modality, which says what state and action are; give "
            "--settings FILE with one (docs/serving.md)"
        )
    network = trained_network(file, choices.base)
    tokenizer = load_tokenizer(choices.tokenizer) if choices.tokenizer else tokenizer_of(network.assets)
    stored = sum(p.nbytes for p in network.parameters())
    return network.to(_dtype(stored, choices.dtype)), tokenizer, settings


def _of_folder(folder: str, given: PolicySettings | None, choices: Choices) -> tuple[Gr00tNetwork, Any, PolicySettings]:
    """Network, tokenizer and settings of a GR00T checkpoint."""
    tokenizer = load_tokenizer(choices.tokenizer or resolve_folder(folder, weights=False))
    path = resolve_folder(folder)  # with gigabytes of weights
    stored = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    network = from_pretrained(path, dtype=_dtype(stored, choices.dtype))
    of = generation(network.config.generation)
    settings = given or settings_of_checkpoint(of, network.assets, choices.embodiment_tag)
    if settings is None:
        raise ConfigurationError(
            f"--checkpoint {folder} has no {SETTINGS_FILE}, and its own files do not say how states and actions are "
            "normalised and in which order they stand; give --settings FILE (docs/serving.md has an example)"
        )
    tag = settings.modality.embodiment_tag
    if choices.embodiment_tag not in (None, tag):
        raise ConfigurationError(
            f"--embodiment_tag is {choices.embodiment_tag!r}, but the settings are those of {tag!r}; leave it out, or "
            "give --settings FILE"
        )
    network.action_head.slice_embodiment(settings.embodiment_id)
    return network, tokenizer, settings


def _dtype(stored: int, name: str | None) -> torch.dtype:
    """Type of the weights, of so many bytes: what was asked for, else bfloat16 for networks of the released size."""
    return getattr(torch, name or ("bfloat16" if stored >= LARGE else "float32"))
