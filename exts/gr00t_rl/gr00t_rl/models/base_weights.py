# SPDX-License-Identifier: BSD-3-Clause
"""Where an actor's base weights come from, and how a training checkpoint refers to them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn

from ..gr00t import (
    METADATA_FILE,
    CheckpointError,
    Gr00tN1d5,
    Gr00tN1d5Config,
    Modality,
    Statistics,
    load_tokenizer,
    read_statistics,
    tiny_tokenizer,
)
from ..gr00t.checkpoint import read_assets, read_config, resolve_folder
from ..options import Gr00tActorOptions
from ..utils.errors import ConfigurationError

TINY = "tiny"

_blank: ContextVar[Gr00tN1d5Config | str | None] = ContextVar("blank", default=None)
"""Sizes of the network without weights that is wanted, "" for the checkpoint's own; None where weights are."""


@contextmanager
def blank_weights(config: Gr00tN1d5Config | None = None) -> Iterator[None]:
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


def load_base(options: Gr00tActorOptions, dtype: torch.dtype | None, image_size: int | None) -> tuple[Gr00tN1d5, Any]:
    """Load the network, cut to one embodiment, and its tokenizer.

    Args:
        options: The checkpoint, its tokenizer and embodiment, and what "tiny" needs.
        dtype: Type of the weights; None: as on disk, and float32 for "tiny".
        image_size: Side of the camera's images, which "tiny" takes without resizing; None without cameras.

    Raises:
        ConfigurationError: If the checkpoint, the tokenizer or the embodiment do not exist or do not fit.
    """
    o = options
    at_fault = f"checkpoint={o.checkpoint!r}"
    try:
        if isinstance(_blank.get(), Gr00tN1d5Config):
            model = _network(o, dtype, None)
            tokens = tiny_tokenizer(model.config)
        elif o.checkpoint == TINY:
            sizes = {"action_horizon": o.n_action_steps}  # a checkpoint has its own
            if image_size is not None:
                # eight patches a side: of a frozen random encoder with four, a linear probe finds half as much of the
                # goal's position
                side = image_size if image_size % 8 == 0 else 64  # other sizes are resized
                sizes |= {"image_size": side, "patch_size": side // 8}
            config = Gr00tN1d5Config.tiny(**sizes)
            model = _network(o, dtype, config)
            # PPO's small last layer (detail 2): a random velocity of order one saturates the actions, and exploration
            # noise then changes nothing
            with torch.no_grad():
                model.action_head.action_decoder.layer2.W.mul_(0.1)
            tokens = tiny_tokenizer(config)
        else:
            model = _network(o, dtype, None)
            at_fault = f"tokenizer={o.tokenizer!r}" if o.tokenizer else at_fault
            tokens = load_tokenizer(o.tokenizer or o.checkpoint)
        at_fault = f"embodiment_id={o.embodiment_id}"
        model.action_head.slice_embodiment(o.embodiment_id)
    except (CheckpointError, ValueError) as error:
        raise ConfigurationError(f"agent.actor.{at_fault}: {error}") from None
    except ImportError as error:  # of the kernels
        raise ConfigurationError(f"agent.actor.{error}") from None
    return model, tokens


def _network(options: Gr00tActorOptions, dtype: torch.dtype | None, tiny: Gr00tN1d5Config | None) -> Gr00tN1d5:
    """Make the network of sizes ``tiny``, or load the checkpoint; without weights inside :func:`blank_weights`."""
    kernels, blank = options.attn_implementation, _blank.get()
    if blank is not None:
        if tiny is not None or isinstance(blank, Gr00tN1d5Config):
            config, assets = tiny or blank, {}
        else:
            folder = resolve_folder(options.checkpoint)
            config, assets = read_config(folder), read_assets(folder)
        model = Gr00tN1d5.without_weights(config, dtype or torch.bfloat16, kernels)  # pyright: ignore
        model.assets = assets
        return model
    if tiny is not None:
        kind = dtype or torch.float32
        return Gr00tN1d5.from_config(tiny, seed=options.tiny_seed, dtype=kind, attn_implementation=kernels)
    return Gr00tN1d5.from_pretrained(options.checkpoint, dtype=dtype, attn_implementation=kernels)


def load_statistics(model: Gr00tN1d5, modality: Modality) -> Statistics | None:
    """Return what the checkpoint says of the data that the modality's keys are normalised by; None if none is.

    Raises:
        ConfigurationError: If the checkpoint lacks the statistics of a key, or they do not fit.
    """
    try:
        return read_statistics(model.assets.get(METADATA_FILE), modality)
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
