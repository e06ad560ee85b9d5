# SPDX-License-Identifier: BSD-3-Clause
"""Where an actor's base weights come from, and how a training checkpoint refers to them."""

from __future__ import annotations

import hashlib
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
from ..options import Gr00tActorOptions
from ..utils.errors import ConfigurationError

TINY = "tiny"


def load_base(options: Gr00tActorOptions, dtype: torch.dtype | None, image_size: int | None) -> tuple[Gr00tN1d5, Any]:
    """Load the network, cut to one embodiment, and its tokenizer.

    Args:
        options: The checkpoint, its tokenizer and embodiment, and what "tiny" needs.
        dtype: Type of the weights; None: as on disk, and float32 for "tiny".
        image_size: Side of the camera's images, which "tiny" takes without resizing; None without cameras.

    Raises:
        ConfigurationError: If the checkpoint, the tokenizer or the embodiment do not exist or do not fit.
    """
    o, kernels = options, options.attn_implementation
    at_fault = f"checkpoint={o.checkpoint!r}"
    try:
        if o.checkpoint == TINY:
            sizes = {"action_horizon": o.n_action_steps}  # a checkpoint has its own
            if image_size is not None:
                # eight patches a side: of a frozen random encoder with four, a linear probe finds half as much of the
                # goal's position
                side = image_size if image_size % 8 == 0 else 64  # other sizes are resized
                sizes |= {"image_size": side, "patch_size": side // 8}
            config = Gr00tN1d5Config.tiny(**sizes)
            model = Gr00tN1d5.from_config(
                config, seed=o.tiny_seed, dtype=dtype or torch.float32, attn_implementation=kernels
            )
            # PPO's small last layer (detail 2): a random velocity of order one saturates the actions, and exploration
            # noise then changes nothing
            with torch.no_grad():
                model.action_head.action_decoder.layer2.W.mul_(0.1)
            tokens = tiny_tokenizer(config)
        else:
            model = Gr00tN1d5.from_pretrained(o.checkpoint, dtype=dtype, attn_implementation=kernels)
            at_fault = f"tokenizer={o.tokenizer!r}" if o.tokenizer else at_fault
            tokens = load_tokenizer(o.tokenizer or o.checkpoint)
        at_fault = f"embodiment_id={o.embodiment_id}"
        model.action_head.slice_embodiment(o.embodiment_id)
    except (CheckpointError, ValueError) as error:
        raise ConfigurationError(f"agent.actor.{at_fault}: {error}") from None
    except ImportError as error:  # of the kernels
        raise ConfigurationError(f"agent.actor.{error}") from None
    return model, tokens


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
    on what they started from. Call it before the first update.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(name.encode())
        values = parameter.detach().to(device="cpu", dtype=torch.bfloat16).contiguous()
        digest.update(values.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
