# SPDX-License-Identifier: BSD-3-Clause
"""The network of a fine-tuning: loaded or made, and told the dataset's statistics."""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch
from torch import nn

from ..data import Demonstrations
from ..gr00t import (
    METADATA_FILE,
    CheckpointError,
    Gr00tN1d5,
    Gr00tN1d5Config,
    Modality,
    Statistics,
    load_tokenizer,
    make_metadata,
    tiny_tokenizer,
    tokenizer_assets,
)
from ..utils.errors import ConfigurationError
from .arguments import TINY, sizes_of
from .parts import renew_head


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


def camera_sizes(data: Demonstrations) -> dict[str, int]:
    """Sizes of a tiny network that takes the pictures as they are, in eight patches a side."""
    side = next((height for height, _ in data.layout.cameras.values()), 64)
    side = side if side % 8 == 0 else 64
    return {"image_size": side, "patch_size": side // 8}


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
