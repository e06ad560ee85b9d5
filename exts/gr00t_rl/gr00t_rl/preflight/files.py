# SPDX-License-Identifier: BSD-3-Clause
"""Checks of what a run reads from disk: checkpoints, tokenizers and the statistics in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..gr00t.generations import TINY, generation
from ..gr00t.head_config import ActionHeadConfig
from ..utils.errors import ConfigurationError
from ..utils.foreign_files import read_bytes
from ..utils.simulators import differences, simulator_of

if TYPE_CHECKING:
    from ..gr00t import PolicySettings


def check_resume(cfg: Any) -> None:
    """Check that a run is resumed by what Isaac Lab heeds, from a checkpoint file that is whole and one of ours."""
    if getattr(cfg, "resume", False):
        raise ConfigurationError(
            "agent.resume=True, which Isaac Lab's train ignores: the run would start anew; "
            "remove it and resume with --checkpoint FILE, latest or best"
        )
    checkpoint = getattr(cfg, "load_checkpoint", None)
    if checkpoint and "gr00t_rl" in cfg.algorithm.class_name and Path(checkpoint).is_file():
        from ..utils.runner_files import check_readable  # loads rsl_rl's runner

        check_readable(checkpoint)


def check_checkpoint(actor: Any) -> None:
    """Check that the checkpoint's folder exists and that its sizes fit the settings."""
    folder = Path(actor.checkpoint).expanduser()
    if _is_hub_id(actor.checkpoint):
        return
    if not folder.is_dir():
        raise ConfigurationError(
            f"agent.actor.checkpoint={actor.checkpoint!r} is no folder and no hub id 'org/name'; set a GR00T "
            f"checkpoint, or {' or '.join(TINY)} for a small random network"
        )
    head = _read_head(folder, actor.checkpoint)
    horizon, embodiments = head.action_horizon, head.max_num_embodiments
    limits = (
        ("n_action_steps", actor.n_action_steps <= horizon, f"at most the checkpoint's action horizon {horizon}"),
        ("embodiment_id", actor.embodiment_id < embodiments, f"from 0 to {embodiments - 1}, those of the checkpoint"),
    )
    for name, holds, expected in limits:
        if not holds:
            raise ConfigurationError(f"agent.actor.{name} is {getattr(actor, name)!r}; set {expected}")


def _read_head(folder: Path, named: str) -> ActionHeadConfig:
    """Read the sizes of the action head from a checkpoint's files."""
    from ..gr00t.checkpoint import read_sizes_of  # loads torch
    from ..gr00t.loading import generation_of_folder

    try:
        return read_sizes_of(folder, generation_of_folder(folder).Config).action_head
    except ValueError as error:  # a CheckpointError is one
        raise ConfigurationError(
            f"agent.actor.checkpoint={named!r}: {error}; set the folder that holds config.json and the *.safetensors "
            "files"
        ) from None


def check_tokenizer(actor: Any) -> None:
    """Check that the folder of the tokenizer's assets exists and holds a tokenizer."""
    tokenizer, folder = getattr(actor, "tokenizer", None), Path(actor.checkpoint).expanduser()
    if tokenizer is None and folder.is_dir() and not (folder / "tokenizer_config.json").is_file():
        raise ConfigurationError(
            f"agent.actor.checkpoint={actor.checkpoint!r} has no tokenizer, as the released ones; set "
            "agent.actor.tokenizer to the folder or hub id of the Eagle assets (N1.5) or of Qwen3-VL-2B's (N1.7)"
        )
    if tokenizer is None or _is_hub_id(tokenizer):
        return
    if not (Path(tokenizer).expanduser() / "tokenizer_config.json").is_file():
        raise ConfigurationError(
            f"agent.actor.tokenizer is {tokenizer!r}, which has no tokenizer_config.json; set the folder or hub id of "
            "the tokenizer assets"
        )


def _is_hub_id(name: str) -> bool:
    """Return whether a name that is no folder can be a hub id; it is fetched when the model is built."""
    parts = name.split("/")
    return not Path(name).expanduser().is_dir() and len(parts) == 2 and all(parts) and not name.startswith((".", "~"))


def check_modality(actor: Any, groups: list[str]) -> None:
    """Check the actor's modality against its observation groups and the checkpoint's statistics.

    Widths are compared when the actor is built: the env's groups and action are known then.
    """
    modality = getattr(actor, "modality", None)
    if modality is None:
        return
    from ..gr00t import CheckpointError, Modality  # loads transformers, which only this needs
    from ..gr00t.checkpoint import read_assets
    from ..gr00t.loading import generation_of_folder

    folder, known, tag = Path(actor.checkpoint).expanduser(), None, ""
    try:
        keys = Modality.from_dict(modality.to_dict() if hasattr(modality, "to_dict") else modality)
        keys.check_groups(groups)
        if actor.checkpoint in TINY:
            generation(TINY[actor.checkpoint]).Processor.read_statistics({}, keys)
        elif folder.is_dir():  # a hub id is fetched when the model is built
            of = generation_of_folder(folder)
            assets, tag = read_assets(folder, of.LAYOUT), keys.embodiment_tag
            of.Processor.read_statistics(assets, keys)
            known = of.Processor.known_embodiment(assets, tag)
            settings = _settings_of(assets)
            if settings is not None and settings.modality.embodiment_tag == tag:
                settings.check(keys)
    except CheckpointError as error:
        raise ConfigurationError(f"agent.actor.checkpoint: {error}") from None
    except ValueError as error:
        raise ConfigurationError(f"agent.actor.modality.{error}") from None
    except OSError as error:
        raise ConfigurationError(f"agent.actor.checkpoint: {folder} cannot be read ({error}); copy it again") from None
    if known is not None:
        try:
            known.check(tag, actor.embodiment_id, actor.n_action_steps)
        except ValueError as error:
            raise ConfigurationError(f"agent.actor.{error}") from None


def other_simulator(env_cfg: Any, actor: Any) -> str | None:
    """Return in one line that the base policy comes from another renderer or physics than the env has, or None."""
    folder = Path(str(getattr(actor, "checkpoint", ""))).expanduser()
    if getattr(actor, "modality", None) is None or not folder.is_dir():
        return None
    from ..gr00t.checkpoint import SETTINGS_FILE

    try:
        settings = _settings_of({SETTINGS_FILE: read_bytes(folder / SETTINGS_FILE)})
    except OSError:
        return None
    changed = differences(settings.simulator, simulator_of(env_cfg)) if settings is not None else []
    if not changed:
        return None
    return (
        f"agent.actor.checkpoint={actor.checkpoint!r} was trained in another simulator: {'; '.join(changed)}. A policy "
        "may lose nearly all of its success by that: collect demonstrations and train under the same"
    )


def unknown_hold(actor: Any) -> str | None:
    """Return in one line which actions of a waiting env would be 0 for want of anything better, or None."""
    modality = getattr(actor, "modality", None)
    if modality is None or not getattr(actor, "align_decisions", False) or actor.n_action_steps == 1:
        return None
    from ..gr00t import Modality

    keys = Modality.from_dict(modality.to_dict() if hasattr(modality, "to_dict") else modality)
    unknown = [name for name in keys.action if keys.held_as(name) is None]
    if not unknown:
        return None
    path = f"agent.actor.modality.action.{unknown[0]}"
    return (
        f"agent.actor.align_decisions is True, and {path} has absolute values, but no state key of its name and width "
        f"says where an env is: one that is reset acts with 0 there, for up to {actor.n_action_steps - 1} steps. Set "
        "absolute=False if it is a change, hold to a value that does no harm, or agent.actor.align_decisions=False"
    )


def _settings_of(assets: Mapping[str, bytes]) -> PolicySettings | None:
    """How the checkpoint's policy was run; None if no file says so, or one that whoever needs it complains of."""
    from ..gr00t import PolicySettings

    try:
        return PolicySettings.read(assets)
    except ValueError:
        return None
