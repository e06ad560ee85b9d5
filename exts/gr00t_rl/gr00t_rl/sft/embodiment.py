# SPDX-License-Identifier: BSD-3-Clause
"""Which embodiment is trained: that of a task, or that of a file or dataset, where there is no task."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..data.described import read_modality
from ..data.layout import MODALITY
from ..data.modality_file import ModalityFile, modality_of_dataset, read_modality_file
from ..gr00t import TINY, CheckpointError, Modality, files_of
from ..utils.errors import ConfigurationError


def chosen_modality(args: argparse.Namespace) -> ModalityFile:
    """The modality that the options ask for; fills in ``args.embodiment_id``.

    Raises:
        ConfigurationError: A task, file or dataset that declares none, or a checkpoint that says no row.
    """
    if args.task is not None:
        from ..data.task_modality import agent_cfg_of, modality_of  # loads the simulator's configs

        agent_cfg = agent_cfg_of(args.task)
        if args.embodiment_id is None:
            args.embodiment_id = agent_cfg.actor.embodiment_id
        return ModalityFile(modality_of(agent_cfg, args.task), None)
    if args.modality is not None:
        found = read_modality_file(args.modality, args.embodiment_tag)
        derived = found.dataset is not None
    else:
        root = Path(args.dataset[0]).expanduser()
        found = ModalityFile(modality_of_dataset(read_modality(root), args.embodiment_tag, root / MODALITY), None)
        derived = True
    modality = found.modality
    if args.checkpoint in TINY:
        args.embodiment_id = args.embodiment_id or 0
    else:
        modality = _as_trained(args, modality, derived)
    return ModalityFile(modality, found.dataset)


def _as_trained(args: argparse.Namespace, modality: Modality, derived: bool) -> Modality:
    """The modality as the checkpoint's files know the embodiment, where the user's file cannot say it (``derived``)."""
    try:
        of, assets = files_of(args.checkpoint)
        if args.embodiment_id is None:
            args.embodiment_id = of.Processor.known_embodiment(assets, modality.embodiment_tag).row
        if derived:
            modality = of.Processor.as_trained(assets, modality)
    except CheckpointError as error:
        raise ConfigurationError(f"--checkpoint {args.checkpoint}: {error}") from None
    if args.embodiment_id is None:
        raise ConfigurationError(
            f"--checkpoint {args.checkpoint} does not say which row of its weights {modality.embodiment_tag!r} has; "
            "set --embodiment_id (N1.5: new_embodiment has 31)"
        )
    return modality
