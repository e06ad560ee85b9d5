# SPDX-License-Identifier: BSD-3-Clause
"""A network of whatever generation a checkpoint is of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from . import checkpoint
from .errors import CheckpointError
from .generations import Generation, generation_of_config
from .modality import Statistics
from .network import Gr00tNetwork
from .settings import PolicySettings


def generation_of_folder(folder: Path) -> Generation:
    """Return the generation of the checkpoint in ``folder``.

    Raises:
        CheckpointError: No readable config.json, or one of a network that is not known.
    """
    config = checkpoint.read_json(folder / checkpoint.CONFIG_FILE)
    try:
        return generation_of_config(config)
    except ValueError as error:
        raise CheckpointError(f"{folder}: {error}") from error


def from_pretrained(path_or_hub_id: str | os.PathLike[str], **kwargs: Any) -> Gr00tNetwork:
    """Load a checkpoint of any generation.

    Args:
        path_or_hub_id: A folder, which never touches the network, or a hub id ``org/name``.
        **kwargs: See :meth:`Gr00tNetwork.from_pretrained`.

    Raises:
        CheckpointError: Anything wrong with the checkpoint, in one line.
        ValueError, ImportError: An attention implementation that cannot run here.
    """
    folder = checkpoint.resolve_folder(path_or_hub_id)
    return generation_of_folder(folder).Network.from_pretrained(folder, **kwargs)


def files_of(path_or_hub_id: str | os.PathLike[str]) -> tuple[Generation, dict[str, bytes]]:
    """Return the generation of a checkpoint and its small files, by name. No weights are read.

    Raises:
        CheckpointError: Anything wrong with the checkpoint, in one line.
    """
    folder = checkpoint.resolve_folder(path_or_hub_id, weights=False)
    of = generation_of_folder(folder)
    return of, checkpoint.read_assets(folder, of.LAYOUT)


def settings_of_checkpoint(
    of: Generation, assets: Mapping[str, bytes], tag: str | None = None
) -> PolicySettings | None:
    """Return how a checkpoint's policy is run: by the settings written beside it, else by what its own files declare.

    Args:
        of: Its generation.
        assets: Its small files.
        tag: The embodiment, of a checkpoint whose own files declare several.

    Returns:
        The settings; None where the files do not say all.

    Raises:
        ValueError: Settings that make no sense, an embodiment that the files do not declare, or several and no tag.
    """
    if (written := PolicySettings.read(assets)) is not None:
        return written
    modality = of.Processor.declared_modality(assets, tag)
    if modality is None:
        return None
    known = of.Processor.known_embodiment(assets, modality.embodiment_tag)
    if known.row is None:
        raise CheckpointError(
            f"no file says the row of embodiment {modality.embodiment_tag!r}; add {checkpoint.SETTINGS_FILE}"
        )
    return PolicySettings(modality, known.row, known.steps)


def statistics_of(path_or_hub_id: str | os.PathLike[str]) -> dict[str, Statistics]:
    """Return what a checkpoint says of the data of each embodiment: tag -> statistics. No weights are read.

    Raises:
        CheckpointError: Anything wrong with the checkpoint, in one line.
    """
    of, assets = files_of(path_or_hub_id)
    try:
        return of.Processor.all_statistics(assets)
    except ValueError as error:
        raise CheckpointError(f"{path_or_hub_id}: {error}") from None


def without_weights(
    path_or_hub_id: str | os.PathLike[str], dtype: torch.dtype | None, attn_implementation: str
) -> Gr00tNetwork:
    """Return the network of a checkpoint with weights that take no memory; see :meth:`Gr00tNetwork.without_weights`."""
    folder = checkpoint.resolve_folder(path_or_hub_id, weights=False)
    of = generation_of_folder(folder)
    config = checkpoint.read_sizes_of(folder, of.Config)
    model = of.Network.without_weights(config, dtype or torch.bfloat16, attn_implementation)
    model.assets = checkpoint.read_assets(folder, of.LAYOUT)
    return model
