# SPDX-License-Identifier: BSD-3-Clause
"""Where an actor's base weights come from, and how a training checkpoint refers to them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..gr00t import (
    TINY,
    CheckpointError,
    Gr00tNetwork,
    Modality,
    NetworkConfig,
    Statistics,
    from_pretrained,
    generation,
    load_tokenizer,
    without_weights,
)
from ..gr00t.as_trained import check_base, unusual
from ..gr00t.checkpoint import resolve_folder
from ..gr00t.generations import tiny_for_image
from ..options import Gr00tActorOptions
from ..utils.errors import ConfigurationError
from ..utils.process_group import rank

_blank: ContextVar[NetworkConfig | str | None] = ContextVar("blank", default=None)
"""Sizes of the network without weights that is wanted, "" for the checkpoint's own; None where weights are."""


@contextmanager
def blank_weights(config: NetworkConfig | None = None) -> Iterator[None]:
    """Let actors inside the block be made without weights, to see what they would need.

    Args:
        config: Sizes, in place of those of the actor's checkpoint.
    """
    from ..utils.fakes import fake_modules

    token = _blank.set(config or "")
    try:
        with fake_modules():
            yield
    finally:
        _blank.reset(token)


def load_base(
    options: Gr00tActorOptions, dtype: torch.dtype | None, image_size: int | None
) -> tuple[Gr00tNetwork, Any]:
    """Load the network, cut to one embodiment, and its tokenizer.

    Args:
        options: The checkpoint, its tokenizer and embodiment, and what a tiny random network needs.
        dtype: Type of the weights; None: as on disk, and float32 for a tiny random network.
        image_size: Side of the camera's images, which a tiny random network takes without resizing; None without
            cameras.

    Raises:
        ConfigurationError: If the checkpoint, the tokenizer or the embodiment do not exist or do not fit.
    """
    o, blank = options, _blank.get()
    at_fault = f"checkpoint={o.checkpoint!r}"
    try:
        if blank:  # sizes
            assert not isinstance(blank, str)
            of = generation(blank.generation)
            model = of.Network.without_weights(blank, dtype or torch.bfloat16, o.attn_implementation)
            tokens = of.tiny_tokenizer(blank)
        elif o.checkpoint in TINY:
            model, tokens = _tiny(o, dtype or torch.float32, image_size)
        else:
            resolve_folder(o.checkpoint, weights=False)  # what is named first is missed first
            at_fault = f"tokenizer={o.tokenizer!r}" if o.tokenizer else at_fault
            tokens = load_tokenizer(o.tokenizer or o.checkpoint)  # before gigabytes of weights
            at_fault = f"checkpoint={o.checkpoint!r}"
            load = from_pretrained if blank is None else without_weights
            model = load(o.checkpoint, dtype=dtype, attn_implementation=o.attn_implementation)
        at_fault = f"embodiment_id={o.embodiment_id}"
        model.action_head.slice_embodiment(o.embodiment_id)
    except (CheckpointError, ValueError) as error:
        raise ConfigurationError(f"agent.actor.{at_fault}: {error}") from None
    except ImportError as error:  # of the kernels
        raise ConfigurationError(f"agent.actor.{error}") from None
    return model, tokens


def _tiny(options: Gr00tActorOptions, dtype: torch.dtype, image_size: int | None) -> tuple[Gr00tNetwork, Any]:
    """Make a small random network and its tokenizer; without weights inside :func:`blank_weights`."""
    of = generation(TINY[options.checkpoint])
    config = tiny_for_image(of.Config, image_size, action_horizon=options.n_action_steps)  # a checkpoint has its own
    kernels = options.attn_implementation
    if _blank.get() is not None:
        return of.Network.without_weights(config, dtype, kernels), of.tiny_tokenizer(config)
    model = of.Network.from_config(config, seed=options.tiny_seed, dtype=dtype, attn_implementation=kernels)
    # PPO's small last layer (detail 2): a random velocity of order one saturates the actions, and exploration noise
    # then changes nothing
    with torch.no_grad():
        model.action_head.action_decoder.layer2.W.mul_(0.1)
    return model, of.tiny_tokenizer(config)


def check_files(model: Gr00tNetwork, modality: Modality | None, options: Gr00tActorOptions) -> None:
    """Compare a run with what the files of its base weights say of their embodiment.

    Of a folder this was done before the simulator started; a hub id is fetched only now. What no file says, and is set
    otherwise than usual, is told of a hub id in one line.

    Raises:
        ConfigurationError: The checkpoint knows the embodiment by other settings.
    """
    processor, row = generation(model.config.generation).Processor, options.embodiment_id
    try:
        if modality is not None:
            tag = modality.embodiment_tag
            processor.known_embodiment(model.assets, tag).check(tag, row, options.n_action_steps)
        check_base(model.assets, modality, row)
    except ValueError as error:
        raise ConfigurationError(f"agent.actor.{error}") from None
    is_fetched = options.checkpoint not in TINY and not Path(options.checkpoint).expanduser().is_dir()
    if modality is not None and is_fetched and _blank.get() is None and rank() == 0:
        for line in unusual(processor, model.assets, model.config.action_head.max_num_embodiments, modality, row):
            print(f"[gr00t_rl] warning: {line}", flush=True)


def load_statistics(model: Gr00tNetwork, modality: Modality, options: Gr00tActorOptions) -> Statistics | None:
    """Return what the checkpoint says of the data that the modality's keys are normalised by; None if none is.

    Raises:
        ConfigurationError: If the checkpoint lacks the statistics of a key, or they do not fit.
    """
    try:
        return generation(model.config.generation).Processor.read_statistics(model.assets, modality)
    except CheckpointError as error:
        raise ConfigurationError(f"agent.actor.checkpoint={options.checkpoint!r}: {error}") from None
    except ValueError as error:
        raise ConfigurationError(f"agent.actor.modality.{error}") from None


def fingerprint(model: nn.Module) -> str:
    """Return the SHA-256 of the names and values of the base weights, to which a training checkpoint refers.

    Values are hashed in bfloat16, the type of official checkpoints, so that a run in float32 and one in bfloat16 agree
    on what they started from. Call it before the first update. A network without weights has none.
    """
    if _blank.get() is not None:
        return ""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(name.encode())
        values = parameter.detach().to(device="cpu", dtype=torch.bfloat16).contiguous()
        digest.update(values.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
