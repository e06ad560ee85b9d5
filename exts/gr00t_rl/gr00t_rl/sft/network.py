# SPDX-License-Identifier: BSD-3-Clause
"""The network of a fine-tuning: loaded or made, and told the dataset's statistics."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import torch
from torch import nn

from ..data import Demonstrations
from ..data.statistics import statistics as column_statistics
from ..gr00t import (
    TINY,
    CheckpointError,
    Gr00tNetwork,
    Modality,
    Statistics,
    from_pretrained,
    generation,
    load_tokenizer,
    tokenizer_assets,
)
from ..gr00t.generations import tiny_for_image
from ..utils.errors import ConfigurationError
from .arguments import sizes_of
from .parts import renew_head


def load_network(args: argparse.Namespace, data: Demonstrations) -> tuple[Gr00tNetwork, Any]:
    """The network in float32, cut to one embodiment, and its tokenizer.

    Raises:
        ConfigurationError: Checkpoint, tokenizer, sizes or embodiment are wrong.
    """
    try:
        if args.checkpoint in TINY:
            of = generation(TINY[args.checkpoint])
            side = next((height for height, _ in data.layout.cameras.values()), 64)
            config = tiny_for_image(of.Config, side, **sizes_of(args))
            model, tokenizer = of.Network.from_config(config, seed=args.seed), of.tiny_tokenizer(config)
            model.assets = tokenizer_assets(tokenizer)
        else:
            model = from_pretrained(args.checkpoint, dtype=torch.float32)
            tokenizer = load_tokenizer(args.tokenizer or args.checkpoint)
            if "tokenizer_config.json" not in model.assets:  # what is written is whole
                model.assets = {**model.assets, **tokenizer_assets(tokenizer)}
        if args.new_head:
            renew_head(model, args.seed)
        model.action_head.slice_embodiment(args.embodiment_id)
    except (CheckpointError, ValueError) as error:
        raise ConfigurationError(f"--checkpoint {args.checkpoint}: {error}") from None
    dropout = 0.0 if args.dropout is None and args.checkpoint in TINY else args.dropout
    if dropout is not None:
        for module in model.action_head.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
    return model, tokenizer


def write_statistics(
    model: Gr00tNetwork, modality: Modality, statistics: Statistics, data: Demonstrations, embodiment_id: int
) -> None:
    """Put the statistics into the checkpoint's files; those of other embodiments stay."""
    processor = generation(model.config.generation).Processor
    model.assets = processor.with_statistics(
        model.assets, model.config, modality, statistics, data.layout.cameras, data.layout.fps, embodiment_id
    )


def as_statistics(data: Demonstrations) -> Statistics:
    """The datasets' statistics as tensors."""
    parts = data.statistics()
    return Statistics(
        *(
            {key: {name: torch.tensor(values) for name, values in table.items()} for key, table in parts[part].items()}
            for part in ("state", "action")
        )
    )


def with_relative(statistics: Statistics, model: Gr00tNetwork, modality: Modality, data: Demonstrations) -> Statistics:
    """``statistics`` with those of the actions that the network gives relative to the state, per step of a chunk."""
    processor, horizon = generation(model.config.generation).Processor, model.config.action_head.action_horizon
    if not processor.relative_states(model.assets, modality):
        return statistics
    chunks = data.chunks(torch.arange(len(data)), horizon)
    turned = processor.relative_chunks(model.assets, modality, chunks, data.state)
    tables = {key: [column_statistics(step) for step in values.unbind(1)] for key, values in turned.items()}
    relative = {
        key: {name: torch.tensor([step[name] for step in steps]) for name in steps[0]} for key, steps in tables.items()
    }
    return dataclasses.replace(statistics, relative_action=relative)
