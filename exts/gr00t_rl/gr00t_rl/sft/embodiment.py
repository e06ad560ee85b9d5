# SPDX-License-Identifier: BSD-3-Clause
"""Which embodiment is meant: that of a task, of a file or dataset, or of the checkpoint itself."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..data.described import read_modality
from ..data.layout import MODALITY
from ..data.modality_file import modality_of_dataset, read_modality_file
from ..gr00t import TINY, CheckpointError, Modality, PolicySettings, files_of, settings_of_checkpoint
from ..gr00t.as_trained import trained_row
from ..gr00t.checkpoint import SETTINGS_FILE, read_sizes_of, resolve_folder
from ..gr00t.generations import Generation
from ..gr00t.processor import KnownEmbodiment
from ..utils.errors import ConfigurationError
from .arguments import NOTHING_SAID


class Embodiment(NamedTuple):
    """What the options ask for."""

    modality: Modality
    dataset: Mapping[str, Any] | None = None
    """What stands for the content of a dataset's modality.json; None: each dataset's own."""
    settings: PolicySettings | None = None
    """How the checkpoint says that its policy is run, where the modality is the checkpoint's own."""
    assumed: bool = False
    """Whether nothing says in which order, and how scaled and cut, the checkpoint was given its inputs."""


def chosen_embodiment(args: argparse.Namespace) -> Embodiment:
    """The embodiment that the options ask for; fills in ``args.embodiment_id``.

    Without a task and a file, the checkpoint's own settings come first: they know how its keys are normalised. The
    dataset's modality.json serves embodiments that the checkpoint does not tell of.

    Raises:
        ConfigurationError: A task, file, dataset or checkpoint that declares none, or a checkpoint that says no row.
    """
    if args.task is not None:
        from ..data.task_modality import agent_cfg_of, modality_of  # loads the simulator's configs

        agent_cfg = agent_cfg_of(args.task)
        modality = modality_of(agent_cfg, args.task)
        if args.embodiment_id is None:
            # 0 is the option's default, and no row of the released checkpoints is a new robot's
            args.embodiment_id = agent_cfg.actor.embodiment_id or _row_of(args.checkpoint, modality.embodiment_tag)
        return Embodiment(modality)
    if args.checkpoint in TINY:
        found = _told(args)[0]
        args.embodiment_id = args.embodiment_id or 0
        return found
    try:
        of, assets = files_of(args.checkpoint)
        return _own(args, of, assets) or _as_trained(args, of, assets)
    except ConfigurationError:
        raise
    except ValueError as error:  # a CheckpointError is one
        raise ConfigurationError(f"--checkpoint {args.checkpoint}: {error}") from None


def _row_of(name: str, tag: str) -> int:
    """The row that a checkpoint's files say of an embodiment, else the one that NVIDIA's programs use, else 0."""
    if name in TINY:
        return 0
    try:
        of, assets = files_of(name)
        row = trained_row(of.Processor, assets, tag)
        if row is None:
            sizes = read_sizes_of(resolve_folder(name, weights=False), of.Config)
            row = of.Processor.usual_embodiment(tag, sizes.action_head.max_num_embodiments).row
        return row or 0
    except ValueError as error:  # a CheckpointError is one
        raise ConfigurationError(f"--checkpoint {name}: {error}") from None


def _own(args: argparse.Namespace, of: Generation, assets: Mapping[str, bytes]) -> Embodiment | None:
    """The embodiment that the checkpoint tells of itself; None where another is asked for."""
    if args.modality is not None:
        return None
    # a tag that the settings do not have names an embodiment of the dataset
    settings = settings_of_checkpoint(of, assets) if args.embodiment_tag is None else PolicySettings.read(assets)
    if settings is None and args.embodiment_tag is None:
        raise ConfigurationError(f"--checkpoint {args.checkpoint} has no {SETTINGS_FILE}, and {NOTHING_SAID}")
    if settings is None or args.embodiment_tag not in (None, settings.modality.embodiment_tag):
        return None
    if args.embodiment_id not in (None, settings.embodiment_id):
        raise ConfigurationError(
            f"--embodiment_id is {args.embodiment_id}, but the checkpoint says {settings.embodiment_id} for "
            f"{settings.modality.embodiment_tag!r}; drop it, or give the keys with --modality"
        )
    args.embodiment_id = settings.embodiment_id
    return Embodiment(settings.modality, None, settings)


def _told(args: argparse.Namespace) -> tuple[Embodiment, bool]:
    """The embodiment of the file or dataset, and whether it can say neither order nor scaling of the keys."""
    if args.modality is not None:
        modality, dataset = read_modality_file(args.modality, args.embodiment_tag)
        return Embodiment(modality, dataset), dataset is not None
    root = Path(args.dataset[0]).expanduser()
    return Embodiment(modality_of_dataset(read_modality(root), args.embodiment_tag, root / MODALITY)), True


def _as_trained(args: argparse.Namespace, of: Generation, assets: Mapping[str, bytes]) -> Embodiment:
    """The embodiment of the file or dataset, as the checkpoint's files know it where that cannot say it."""
    found, derived = _told(args)
    modality = found.modality
    known = of.Processor.known_embodiment(assets, modality.embodiment_tag)
    if args.embodiment_id is None:
        args.embodiment_id = known.row
    if derived:
        modality = of.Processor.as_trained(assets, modality)
    if args.embodiment_id is None:
        raise CheckpointError(
            f"it does not say which row of its weights {modality.embodiment_tag!r} has; set --embodiment_id (N1.5: "
            "new_embodiment has 31)"
        )
    return found._replace(modality=modality, assumed=derived and known == KnownEmbodiment())
