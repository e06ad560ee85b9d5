# SPDX-License-Identifier: BSD-3-Clause
"""Checks of what a run reads from disk: checkpoints, tokenizers and the statistics in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..gr00t.generations import TINY, generation
from ..gr00t.head_config import ActionHeadConfig
from ..utils.errors import ConfigurationError
from ..utils.foreign_files import is_count, is_finite, is_hub_id, parse_json, read_bytes
from ..utils.simulators import control_hz_of, differences, items_of, picture_sizes_of, simulator_of

if TYPE_CHECKING:
    from ..gr00t import Modality, PolicySettings


def check_resume(cfg: Any) -> Mapping[str, Any] | None:
    """Check that a run is resumed by what Isaac Lab heeds, from a checkpoint file that is whole and one of ours.

    Returns:
        What the checkpoint remembers of a GR00T policy; None where there is none, or a policy of another kind.
    """
    if getattr(cfg, "resume", False):
        raise ConfigurationError(
            "agent.resume=True, which Isaac Lab's train ignores: the run would start anew; "
            "remove it and resume with --checkpoint FILE, latest or best"
        )
    checkpoint = getattr(cfg, "load_checkpoint", None)
    if checkpoint and "gr00t_rl" in cfg.algorithm.class_name and Path(checkpoint).is_file():
        from ..utils.runner_files import check_readable  # loads rsl_rl's runner

        state = check_readable(checkpoint)["actor_state_dict"]
        base = state.get("base") if isinstance(state, Mapping) else None
        return base if isinstance(base, Mapping) else None
    return None


def check_trained_as(remembered: Mapping[str, Any], actor: Any) -> None:
    """Check that the policy of a run's checkpoint would see and act as it did in training."""
    from ..gr00t.as_trained import check_remembered  # loads torch

    try:
        check_remembered(remembered, _modality_of(actor), actor.embodiment_id)
    except ValueError as error:
        raise ConfigurationError(f"agent.actor.{error}") from None


def check_checkpoint(actor: Any) -> None:
    """Check that the checkpoint's folder exists and that its sizes fit the settings."""
    folder = Path(actor.checkpoint).expanduser()
    if is_hub_id(actor.checkpoint):
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
    if tokenizer is None or is_hub_id(tokenizer):
        return
    if not (Path(tokenizer).expanduser() / "tokenizer_config.json").is_file():
        raise ConfigurationError(
            f"agent.actor.tokenizer is {tokenizer!r}, which has no tokenizer_config.json; set the folder or hub id of "
            "the tokenizer assets"
        )


def check_modality(actor: Any, groups: list[str]) -> None:
    """Check the actor's modality and row against its observation groups and what the checkpoint's files say.

    Widths are compared when the actor is built: the env's groups and action are known then.
    """
    from ..gr00t import CheckpointError  # loads torch
    from ..gr00t.as_trained import check_base
    from ..gr00t.checkpoint import read_assets

    folder, known, tag = Path(actor.checkpoint).expanduser(), None, ""
    assets: Mapping[str, bytes] = {}
    try:
        keys = _modality_of(actor)
        if keys is None:
            assets = _settings_file(folder)
        else:
            keys.check_groups(groups)
            tag = keys.embodiment_tag
            if actor.checkpoint in TINY:
                generation(TINY[actor.checkpoint]).Processor.read_statistics({}, keys)
            elif folder.is_dir():  # a hub id is fetched when the model is built
                from ..gr00t import generation_of_folder  # loads transformers, which only this needs

                of = generation_of_folder(folder)
                assets = read_assets(folder, of.LAYOUT)
                of.Processor.read_statistics(assets, keys)
                known = of.Processor.known_embodiment(assets, tag)
    except CheckpointError as error:
        raise ConfigurationError(f"agent.actor.checkpoint: {error}") from None
    except ValueError as error:
        raise ConfigurationError(f"agent.actor.modality.{error}") from None
    except OSError as error:
        raise ConfigurationError(f"agent.actor.checkpoint: {folder} cannot be read ({error}); copy it again") from None
    try:
        if known is not None:
            known.check(tag, actor.embodiment_id, actor.n_action_steps)
        check_base(assets, keys, actor.embodiment_id)
    except ValueError as error:
        raise ConfigurationError(f"agent.actor.{error}") from None


def _modality_of(actor: Any) -> Modality | None:
    """The modality of an actor's cfg; None where it has none. Raises ValueError, which starts with the field."""
    content = getattr(actor, "modality", None)
    if content is None:
        return None
    from ..gr00t import Modality

    return Modality.from_dict(content.to_dict() if hasattr(content, "to_dict") else content)


def _settings_file(folder: Path) -> dict[str, bytes]:
    """Our own file beside a checkpoint's, by its name; empty where there is none."""
    from ..gr00t.checkpoint import SETTINGS_FILE

    try:
        return {SETTINGS_FILE: read_bytes(folder / SETTINGS_FILE)}
    except OSError:
        return {}


def _base_settings(actor: Any) -> PolicySettings | None:
    """What the base weights remember of their training; None where they do not, or where nothing can be compared."""
    folder = Path(str(getattr(actor, "checkpoint", ""))).expanduser()
    if getattr(actor, "modality", None) is None or not folder.is_dir():
        return None
    from ..gr00t.as_trained import readable_settings

    return readable_settings(_settings_file(folder))


def warnings_of(env_cfg: Any, actor: Any) -> list[str]:
    """Return what may be wrong with how a base policy is run, a line each, of settings that passed the checks."""
    found = [other_simulator(env_cfg, actor), *other_views(env_cfg, actor), *other_actions(env_cfg, actor)]
    found += [unknown_hold(actor), *_unusual(actor)]
    return [line for line in found if line is not None]


def _unusual(actor: Any) -> list[str]:
    """What a run does otherwise than NVIDIA's programs, of what no file of the checkpoint says: a line each."""
    name = str(getattr(actor, "checkpoint", ""))
    folder = Path(name).expanduser()
    keys = _modality_of(actor)
    if keys is None or name in TINY or not folder.is_dir():
        return []
    from ..gr00t import generation_of_folder
    from ..gr00t.as_trained import unusual

    of, rows = generation_of_folder(folder), _read_head(folder, name).max_num_embodiments
    return unusual(of.Processor, _settings_file(folder), rows, keys, actor.embodiment_id)


def other_simulator(env_cfg: Any, actor: Any) -> str | None:
    """Return in one line that the base policy comes from another renderer or physics than the env has, or None."""
    settings = _base_settings(actor)
    changed = differences(settings.simulator, simulator_of(env_cfg)) if settings is not None else []
    if not changed:
        return None
    return (
        f"agent.actor.checkpoint={actor.checkpoint!r} was trained in another simulator: {'; '.join(changed)}. A policy "
        "may lose nearly all of its success by that: collect demonstrations and train under the same"
    )


def _recorded_views(actor: Any, tag: str) -> tuple[float | None, Mapping[str, tuple[int, int]]]:
    """Rate of the base's demonstrations, and height and width of their pictures: by our file, else by N1.5's."""
    settings = _base_settings(actor)
    if settings is not None:
        return settings.control_hz, settings.image_sizes
    from ..gr00t.modality import METADATA_FILE

    try:
        table = parse_json(read_bytes(Path(str(actor.checkpoint)).expanduser() / METADATA_FILE))
        views = dict(table[tag]["modalities"]["video"])
        sizes = {name: tuple(reversed(view["resolution"])) for name, view in views.items()}
        rates = {view.get("fps") for view in views.values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, {}  # whoever needs the file complains
    sides = {name: size for name, size in sizes.items() if len(size) == 2 and all(is_count(side, 1) for side in size)}
    (rate,) = rates if len(rates) == 1 else (None,)
    return (float(rate) if is_finite(rate) and rate > 0 else None), sides


def other_views(env_cfg: Any, actor: Any) -> list[str]:
    """Return in a line each that the env acts at another rate, or sees pictures of another shape, than the base knows.

    Pictures of another size and the same shape are resized as those of the training were, and only less sharp.
    """
    keys = _modality_of(actor)
    if keys is None:
        return []
    trained_hz, sizes = _recorded_views(actor, keys.embodiment_tag)
    base, lines = f"agent.actor.checkpoint={actor.checkpoint!r}", []
    rate = control_hz_of(env_cfg)
    if rate and trained_hz and abs(rate / trained_hz - 1) > 0.01:
        lines.append(
            f"{base} was trained on actions at {trained_hz:g} per second, and the env acts {rate:g} times: "
            f"its chunks play {rate / trained_hz:.2g} times as fast. Set env.decimation and env.sim.dt, or "
            "train on demonstrations at the env's rate"
        )
    for key, (height, width) in picture_sizes_of(env_cfg, keys.video).items():
        before = sizes.get(key)
        if before is not None and abs(before[0] * width / (before[1] * height) - 1) > 0.01:
            lines.append(
                f"{base} was trained on pictures {key!r} of {before[0]} x {before[1]} (height x width), and the env's "
                f"have {height} x {width}: they are squeezed otherwise. Give the camera the demonstrations' shape"
            )
    return lines


def other_actions(env_cfg: Any, actor: Any) -> list[str]:
    """Return in a line each that the env does something else with actions than what the checkpoint means by them.

    Of a policy that learned from the env's own demonstrations there is nothing to say: its actions are the env's.
    """
    keys, settings = _modality_of(actor), _base_settings(actor)
    if keys is None or (settings is not None and settings.simulator):
        return []
    lines = []
    for name, term in items_of(getattr(env_cfg, "actions", None)):
        kind, path = type(term).__name__, f"env.actions.{name}"
        scaled = [
            f"{field}={value!r}"
            for field, plain in (("use_default_offset", False), ("scale", 1.0), ("offset", 0.0))
            if (value := getattr(term, field, plain)) != plain
        ]
        if (
            scaled
            and kind.startswith("JointPosition")
            and any(k.absolute and k.normalization is not None for k in keys.action.values())
        ):
            lines.append(
                f"{path} has {', '.join(scaled)}: the env executes offset + scale * action, and agent.actor.modality "
                "has absolute actions in the checkpoint's units. Set use_default_offset=False, and scale to what turns "
                "that unit into the joint's (1.0 for rad), unless it was trained on such actions"
            )
        if kind.startswith("BinaryJoint") and any(k.normalization == "binary" for k in keys.action.values()):
            lines.append(
                f"{path} is a {kind}, which closes below 0, and agent.actor.modality has a binary key, which is 0 "
                "or 1: it never closes. Use AbsBinaryJointPositionActionCfg with a threshold of 0.5"
            )
    return lines


def _relative_states(actor: Any, keys: Modality) -> dict[str, str]:
    """State keys to which the base's own files say that actions are relative; none of what is no folder here."""
    if not Path(str(actor.checkpoint)).expanduser().is_dir():
        return {}
    from ..gr00t import files_of

    try:
        of, assets = files_of(actor.checkpoint)
        return of.Processor.relative_states(assets, keys)
    except ValueError:  # a CheckpointError is one; whoever needs the files complains
        return {}


def unknown_hold(actor: Any) -> str | None:
    """Return in one line which actions of a waiting env would be 0 for want of anything better, or None."""
    keys = _modality_of(actor)
    if keys is None or not getattr(actor, "align_decisions", False) or actor.n_action_steps == 1:
        return None
    if is_hub_id(str(actor.checkpoint)):  # its files, which may say it, are fetched later
        return None
    relative_to = _relative_states(actor, keys)
    unknown = [name for name in keys.action if keys.held_as(name, relative_to) is None]
    if not unknown:
        return None
    path = f"agent.actor.modality.action.{unknown[0]}"
    return (
        f"agent.actor.align_decisions is True, and {path} has absolute values, but no state key of its name and width "
        f"says where an env is: one that is reset acts with 0 there, for up to {actor.n_action_steps - 1} steps. Set "
        "absolute=False if it is a change, hold to a value that does no harm, or agent.actor.align_decisions=False"
    )
