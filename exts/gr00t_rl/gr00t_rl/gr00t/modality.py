# SPDX-License-Identifier: BSD-3-Clause
"""What a checkpoint calls the robot's cameras, joints and actions, and where an environment keeps them.

GR00T's data configs name the parts of a sample by key (``video.front``, ``state.left_arm``, ``action.gripper``), in a
fixed order; the statistics of each key lie in the checkpoint's ``experiment_cfg/metadata.json`` under the embodiment's
tag. A :class:`Modality` says for each key which observation group, and which columns of it, an environment keeps it in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

import torch
from torch import Tensor

from ..utils.foreign_files import parse_json, shown
from .normalise import MODES, SIN_COS, Stats, read_stats

METADATA_FILE = "experiment_cfg/metadata.json"
"""Where a checkpoint keeps its statistics."""

POSES = {"xyz+rot6d": 9, "xyz+rotvec": 6}
"""Ways to write a pose -> numbers: a place [m], and two rows of the rotation matrix or a rotation vector [rad]."""


@dataclass(frozen=True)
class StateKey:
    """Columns ``start:end`` of the observation group ``group`` [N, S]."""

    group: str
    start: int
    end: int
    normalization: str | None = "min_max"
    """One of ``gr00t_rl.gr00t.normalise.MODES``; None where the observation is scaled already."""
    sin_cos: bool = False
    """Angles: their sines, then their cosines, take the place of normalised values (``normalization`` is None)."""

    @property
    def mode(self) -> str | None:
        """The mode of :class:`gr00t_rl.gr00t.normalise.Normaliser`."""
        return SIN_COS if self.sin_cos else self.normalization

    @property
    def dim(self) -> int:
        """Columns of the group."""
        return self.end - self.start


@dataclass(frozen=True)
class ActionKey:
    """Columns ``start:end`` of the env's action [N, A]."""

    start: int
    end: int
    normalization: str | None = "min_max"
    """One of ``gr00t_rl.gr00t.normalise.MODES``; None where the env takes normalised actions."""
    absolute: bool = True
    """False for a change, such as a step of the end effector: 0 means that nothing happens."""
    relative_to: str | None = None
    """State key, for actions that the network gives relative to it and the env takes absolute (N1.7); None for others,
    and where the checkpoint says so itself."""
    pose: str | None = None
    """How both keys hold a pose, one of ``POSES``; None for joints, which are differences."""
    hold: float | None = None
    """What an env is given that waits for its next decision. None: for a change 0, for an absolute key the present
    value of the state key that it is relative to, or of that with its name and width."""

    @property
    def dim(self) -> int:
        """Columns of the action."""
        return self.end - self.start


@dataclass(frozen=True)
class Modality:
    """The keys of one embodiment, in the order of its data config, which is the order of the network's dimensions.

    Raises:
        ValueError: A declaration that cannot be meant; the message starts with the field, as in ``state.arm.end``.
    """

    embodiment_tag: str
    """Name of the embodiment in the checkpoint's metadata, as ``new_embodiment``."""
    video: dict[str, str]
    """Key -> observation group of uint8 images [N, H, W, 3], in the order of the prompt; empty without cameras."""
    state: dict[str, StateKey]
    action: dict[str, ActionKey]
    """Together they cover the env's action without gap or overlap; their order need not be its order."""
    video_crop: float = 1.0
    """Share of each side of a picture that is kept, from its middle. N1.5's released data configs have 0.95
    (``VideoCrop``), and no file of the checkpoint says so; N1.7's own files say what is cut off."""

    def __post_init__(self) -> None:
        if not self.embodiment_tag or not isinstance(self.embodiment_tag, str):
            raise ValueError(
                f"embodiment_tag is {self.embodiment_tag!r}; set the embodiment's name in the checkpoint's metadata"
            )
        _check_groups(self.video)
        crop = self.video_crop
        if not _is_number(crop) or not 0 < crop <= 1:
            raise ValueError(f"video_crop is {crop!r}; set the share of each side that is kept, above 0 and at most 1")
        for part, keys in (("state", self.state), ("action", self.action)):
            if not keys:
                raise ValueError(f"{part} is empty; declare at least one key")
            for name, key in keys.items():
                _check_key(f"{part}.{name}", key)
        _check_cover(self.action)
        for name, key in self.action.items():
            _check_relative(f"action.{name}", key, self.state)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Build it from plain tables, the form in which a cfg arrives.

        Raises:
            ValueError: Unknown or missing fields, or what the class raises.
        """
        _check_fields("", content, cls)
        parts: dict[str, Any] = {}
        for part, key_class in (("state", StateKey), ("action", ActionKey)):
            table = content[part]
            if not isinstance(table, Mapping):
                raise ValueError(f"{part} is {table!r}; set a table of keys")
            for name, key in table.items():
                _check_fields(f"{part}.{name}", key, key_class)
            parts[part] = {str(name): key_class(**key) for name, key in table.items()}
        if not isinstance(content["video"], Mapping):
            raise ValueError(f"video is {content['video']!r}; set a table of observation groups, empty for no camera")
        others = {"video_crop": content["video_crop"]} if "video_crop" in content else {}
        return cls(content["embodiment_tag"], dict(content["video"]), **parts, **others)

    @property
    def groups(self) -> list[str]:
        """Observation groups that are read: states in order, then images in the prompt's order."""
        return list(dict.fromkeys([*(key.group for key in self.state.values()), *self.video.values()]))

    @property
    def state_dim(self) -> int:
        """Width S of :meth:`select_state`: raw numbers, before sines and cosines double theirs."""
        return sum(key.dim for key in self.state.values())

    @property
    def encoded_state_dim(self) -> int:
        """State dimensions that the network sees, before padding."""
        return sum(key.dim * (2 if key.sin_cos else 1) for key in self.state.values())

    @property
    def action_dim(self) -> int:
        """Dimensions A of the env's action."""
        return sum(key.dim for key in self.action.values())

    def select_state(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Return the raw state [..., S]: the keys' columns of the observation groups, key after key."""
        return torch.cat([obs[key.group][..., key.start : key.end] for key in self.state.values()], dim=-1)

    def held_as(self, name: str, relative_to: Mapping[str, str] | None = None) -> str | float | None:
        """Return what keeps the action key ``name`` where it is: a state key, a number, or None where none is known.

        Args:
            name: The action key.
            relative_to: State keys to which a checkpoint's own files say that actions are relative, by action key.
        """
        key = self.action[name]
        if key.hold is not None or not key.absolute:
            return key.hold or 0.0
        if (state := key.relative_to or (relative_to or {}).get(name)) is not None:
            return state
        return name if name in self.state and self.state[name].dim == key.dim else None

    def hold_action(self, obs: Mapping[str, Tensor], relative_to: Mapping[str, str] | None = None) -> Tensor | None:
        """Return the env action [N, A] that stays where ``obs`` [N] is, 0 where it is not known; None if all are 0.

        ``relative_to``: see :meth:`held_as`.
        """
        held = {name: self.held_as(name, relative_to) or 0.0 for name in self.action}
        if not any(held.values()):
            return None
        like = self.select_state(obs)
        parts = []
        for name, key in sorted(self.action.items(), key=lambda item: item[1].start):
            value = held[name]
            if isinstance(value, str):
                state = self.state[value]
                parts.append(obs[state.group][..., state.start : state.end].to(like.dtype))
            else:
                parts.append(like.new_full((*like.shape[:-1], key.dim), value))
        return torch.cat(parts, dim=-1)

    def views(self, obs: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the images of the observation groups in the prompt's order."""
        return [obs[group] for group in self.video.values()]

    def _readers(self) -> dict[str, str]:
        """Field -> the observation group it names."""
        states = {f"state.{name}.group": key.group for name, key in self.state.items()}
        return states | {f"video.{name}": group for name, group in self.video.items()}

    def check_groups(self, groups: Iterable[str]) -> None:
        """Make sure that the keys read none but the named observation groups.

        Raises:
            ValueError: A group that is not there.
        """
        known = list(groups)
        for name, group in self._readers().items():
            if group not in known:
                raise ValueError(
                    f"{name} is {group!r}, but the actor's observation groups are {known}; set one of these, or add it "
                    "to agent.obs_groups.actor"
                )

    def check_observations(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Compare the keys with the shapes, without the batch dimension, of the observation groups that are read.

        Raises:
            ValueError: A group that is not there, is no picture or no flat vector, or is too narrow.
        """
        self.check_groups(shapes)
        for name, group in self._readers().items():
            rank, what = (3, "images [H, W, 3]") if name.startswith("video.") else (1, "a flat group [S]")
            if len(shapes[group]) != rank:
                raise ValueError(f"{name} is {group!r}, a group of shape {list(shapes[group])}; name {what}")
        for name, key in self.state.items():
            width = shapes[key.group][0]
            if key.end > width:
                raise ValueError(
                    f"state.{name}.end is {key.end}, but the observation group {key.group!r} has {width} columns; set "
                    f"at most {width}"
                )


@dataclass(frozen=True)
class Statistics:
    """What an embodiment's data looked like, before normalisation.

    Raises:
        ValueError: A tensor that is no vector, or a key whose vectors differ in length.
    """

    state: Mapping[str, Stats]
    """Key -> name in ``STATISTICS`` -> float32 [dim]. Old checkpoints lack some names."""
    action: Mapping[str, Stats]
    relative_action: Mapping[str, Stats] = field(default_factory=dict)
    """Of actions relative to a state, after the state was taken off: [dim], or [steps, dim] for steps of a chunk."""

    def __post_init__(self) -> None:
        for part, keys in (("state", self.state), ("action", self.action)):
            for key, stats in keys.items():
                if len({tuple(values.shape) for values in stats.values()}) > 1 or any(
                    values.dim() != 1 for values in stats.values()
                ):
                    shapes = {name: list(values.shape) for name, values in stats.items()}
                    raise ValueError(f"the statistics of {part}.{key} have shapes {shapes}; give vectors of one length")

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any], embodiment_tag: str) -> Self:
        """Read the content of ``experiment_cfg/metadata.json``.

        Raises:
            ValueError: No such tag, or a table of another form.
        """
        if embodiment_tag not in metadata:
            raise ValueError(
                f"embodiment_tag is {embodiment_tag!r}, but the checkpoint's metadata has {sorted(metadata)}; set one "
                "of these"
            )
        try:
            tables = metadata[embodiment_tag]["statistics"]
            parts = [{key: _vectors(table) for key, table in tables[part].items()} for part in ("state", "action")]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"embodiment_tag is {embodiment_tag!r}, whose statistics in the checkpoint's metadata are not readable "
                f"({type(error).__name__}: {error}); copy {METADATA_FILE} again"
            ) from error
        return cls(*parts)

    def check(self, modality: Modality) -> None:
        """Make sure that every key that is normalised has what its mode needs.

        Raises:
            ValueError: A key without statistics, of another width, or without those that its mode needs.
        """
        for part, keys, found in (
            ("state", modality.state, self.state),
            ("action", modality.action, self.action),
        ):
            for name, key in keys.items():
                if key.normalization is not None:
                    check_stats(f"{part}.{name}", key, found.get(name), sorted(found))


def read_statistics(metadata: bytes | None, modality: Modality) -> Statistics | None:
    """Return the statistics that a modality's keys need; None if none is normalised.

    Args:
        metadata: Content of the checkpoint's ``experiment_cfg/metadata.json``; None if it has none.
        modality: The keys.

    Raises:
        ValueError: The statistics of a key that is normalised are missing or do not fit, see :class:`Statistics`.
    """
    modes = {f"state.{name}": key.normalization for name, key in modality.state.items()}
    modes |= {f"action.{name}": key.normalization for name, key in modality.action.items()}
    needing = [name for name, mode in modes.items() if mode is not None]
    if not needing:
        return None
    if metadata is None:
        raise ValueError(
            f"{needing[0]}.normalization is {modes[needing[0]]!r}, but the checkpoint has no {METADATA_FILE} with "
            "statistics; set normalization=None for every key, or a checkpoint that has it"
        )
    try:
        content = parse_metadata(metadata)
    except ValueError as error:
        raise ValueError(f"embodiment_tag is {modality.embodiment_tag!r}, but {error}") from None
    statistics = Statistics.from_metadata(content, modality.embodiment_tag)
    statistics.check(modality)
    return statistics


def parse_metadata(content: bytes) -> dict[str, Any]:
    """The table in a checkpoint's metadata. Raises ValueError."""
    try:
        table = parse_json(content)
    except ValueError as error:
        table = f"no JSON ({error})"
    if not isinstance(table, dict):
        raise ValueError(f"the checkpoint's {METADATA_FILE} is {shown(table)}; copy it again from the source")
    return table


# -- checks -----------------------------------------------------------------------------------------------------------


def _check_groups(video: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for name, group in video.items():
        if not group or not isinstance(group, str):
            raise ValueError(f"video.{name} is {group!r}; set the name of an observation group")
        if group in seen:
            raise ValueError(f"video.{name} reads the group {group!r}, as video.{seen[group]} does; set another")
        seen[group] = name


def _check_key(name: str, key: StateKey | ActionKey) -> None:
    if not (_is_integer(key.start) and _is_integer(key.end) and 0 <= key.start < key.end):
        raise ValueError(f"{name} is the slice {key.start!r}:{key.end!r}; set 0 <= start < end")
    if key.normalization is not None and key.normalization not in MODES:
        raise ValueError(
            f"{name}.normalization is {key.normalization!r}; set one of {', '.join(MODES)}, or None for values "
            "that are scaled already"
        )
    if isinstance(key, ActionKey):
        if key.hold is not None and not (_is_number(key.hold) and abs(key.hold) < float("inf")):
            raise ValueError(f"{name}.hold is {key.hold!r}; set a number in the unit of the env's action, or None")
    else:
        if not key.group or not isinstance(key.group, str):
            raise ValueError(f"{name}.group is {key.group!r}; set the name of an observation group")
        if key.sin_cos and key.normalization is not None:
            raise ValueError(
                f"{name}.normalization is {key.normalization!r} with sin_cos=True, but sines and cosines lie in "
                "[-1, 1] already; set normalization=None"
            )


def _check_relative(name: str, key: ActionKey, state: Mapping[str, StateKey]) -> None:
    """Make sure that an action that is relative to a state is as wide as that."""
    if key.relative_to is None:
        if key.pose is not None:
            raise ValueError(f"{name}.pose is {key.pose!r} without relative_to; set the state key of the present pose")
        return
    if key.relative_to not in state:
        raise ValueError(f"{name}.relative_to is {key.relative_to!r}; set one of the state keys {list(state)}")
    if key.pose is not None and key.pose not in POSES:
        raise ValueError(f"{name}.pose is {key.pose!r}; set one of {', '.join(POSES)}, or None for joints")
    width = key.dim if key.pose is None else POSES[key.pose]
    if {key.dim, state[key.relative_to].dim} != {width}:
        raise ValueError(
            f"{name} is {key.dim} wide and state.{key.relative_to}, to which it is relative, "
            f"{state[key.relative_to].dim}; set start and end to {width} columns each"
        )
    if not key.absolute:
        raise ValueError(f"{name}.absolute is False with relative_to, but the env gets the absolute action; set True")


def _check_cover(action: Mapping[str, ActionKey]) -> None:
    """Make sure that the action's slices, sorted, follow each other from 0."""
    position, before = 0, ""
    for name, key in sorted(action.items(), key=lambda item: item[1].start):
        if key.start != position:
            what = "overlaps" if key.start < position else "leaves a gap after"
            where = f"action.{before}, which ends at {position}" if before else "the action's start at 0"
            raise ValueError(f"action.{name} starts at {key.start} and {what} {where}; set start={position}")
        position, before = key.end, name


def check_stats(
    name: str,
    key: StateKey | ActionKey,
    stats: Mapping[str, Tensor] | None,
    known: list[str],
    needed: Iterable[str] | None = None,
) -> None:
    """Compare the statistics of one key with its width and with what is needed (what its mode needs where None)."""
    if stats is None:
        part, key_name = name.split(".", 1)
        raise ValueError(f"{name} has no statistics, the metadata's {part} keys are {known}; rename {key_name!r}")
    if needed is None:
        needed = MODES[key.normalization].needs if key.normalization is not None else ()
    if missing := [stat for stat in needed if stat not in stats]:
        raise ValueError(
            f"{name}.normalization is {key.normalization!r}, but its statistics lack {', '.join(missing)}; set another "
            "mode or copy the metadata again"
        )
    if bad := [stat for stat in needed if not stats[stat].isfinite().all()]:
        raise ValueError(f"{name}: {bad[0]} of its statistics is not finite; copy the metadata again")
    widths = {values.shape[0] for values in stats.values()}
    if stats and widths != {key.dim}:
        raise ValueError(
            f"{name} is {key.dim} wide ({key.start}:{key.end}), but its statistics have {widths.pop()} numbers; set "
            "start and end to the columns it was trained on"
        )


def _check_fields(name: str, content: Any, target: type) -> None:
    """Make sure that ``content`` is a table of the fields of the dataclass ``target``."""
    known = [field.name for field in fields(target)]
    if not isinstance(content, Mapping):
        what = name or f"{known[0]} is missing: the modality"
        raise ValueError(f"{what} is {content!r}; set a table of {', '.join(known)}")
    where = f"{name}." if name else ""
    if unknown := [field for field in content if field not in known]:
        raise ValueError(f"{where}{unknown[0]} is no field; set {', '.join(known)}")
    optional = ("normalization", "sin_cos", "absolute", "relative_to", "pose", "hold", "video_crop")
    if missing := [field for field in known if field not in content and field not in optional]:
        raise ValueError(f"{where}{missing[0]} is missing; set {', '.join(known)}")


def _vectors(table: Mapping[str, Any]) -> Stats:
    return {name: values.flatten() for name, values in read_stats(table).items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
