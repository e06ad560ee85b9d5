# SPDX-License-Identifier: BSD-3-Clause
"""Actions that the network gives relative to the state at the decision, and back.

Joints are differences. Poses of an end effector are given in the frame of its pose at the decision: R_ref^T R and
R_ref^T (t - t_ref). They come as three coordinates and a rotation: a rotation vector, or six numbers, which are the
first two rows of the rotation matrix (not its columns, as elsewhere).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..modality import POSES, Modality
from .recipe import PROCESSOR_FILE, Recipe

_FORMATS = {"XYZ_ROT6D": "xyz+rot6d", "XYZ_ROTVEC": "xyz+rotvec"}
"""``ActionFormat`` of the release -> ``ActionKey.pose``."""


class Relative(NamedTuple):
    """What an action key is relative to."""

    state: str
    """The state key."""
    pose: str | None
    """How both hold a pose, see ``ActionKey.pose``; None for joints."""


def declared_relative(modality: Modality) -> dict[str, Relative]:
    """Which action keys the modality itself says to be relative."""
    keys = modality.action.items()
    return {name: Relative(key.relative_to, key.pose) for name, key in keys if key.relative_to is not None}


def read_relative(recipe: Recipe, modality: Modality) -> dict[str, Relative]:
    """Which action keys of an embodiment are relative: as the checkpoint says, or for a new embodiment its keys.

    Raises:
        CheckpointError: A kind that the release does not have either.
        ValueError: Keys that do not fit.
    """
    declared = declared_relative(modality)
    config = recipe.modality(modality.embodiment_tag, "action")
    if not config:
        return declared
    found: dict[str, Relative] = {}
    tables = config.get("action_configs")
    if tables is not None and recipe.use_relative_action:
        for name, table in zip(config["modality_keys"], tables, strict=True):
            if name in modality.action and _word(table.get("rep")) == "RELATIVE":
                found[name] = Relative(table.get("state_key") or name, _pose(name, table))
    for name, relative in declared.items():
        if found.get(name) != relative:
            known = found[name] if name in found else Relative("", None)
            raise ValueError(
                f"action.{name}.relative_to is {relative.state!r} with pose {relative.pose!r}, but the checkpoint's "
                f"{PROCESSOR_FILE} says {known.state or None!r} with {known.pose!r}; set these, or leave both out"
            )
    for name, relative in found.items():
        _check_widths(name, relative, modality)
    return found


def _pose(name: str, table: Mapping[str, Any]) -> str | None:
    kind, form = _word(table.get("type")), _word(table.get("format"))
    if kind == "NON_EEF":
        return None
    if kind == "EEF" and form in _FORMATS:
        return _FORMATS[form]
    raise CheckpointError(
        f"the checkpoint's {PROCESSOR_FILE} says action {name} is relative of type {kind} and format {form}, which is "
        f"not supported: give types NON_EEF, or EEF with {' or '.join(_FORMATS)}"
    )


def _word(value: Any) -> str:
    """Name of an enumeration's member, in whichever way a file spells it."""
    return str(value).upper().replace("+", "_")


def _check_widths(name: str, relative: Relative, modality: Modality) -> None:
    if relative.state not in modality.state:
        raise ValueError(
            f"action.{name} is relative to the state {relative.state!r}, but the state keys are "
            f"{list(modality.state)}; add it to modality.state"
        )
    widths = modality.state[relative.state].dim, modality.action[name].dim
    expected = widths[1] if relative.pose is None else POSES[relative.pose]
    if set(widths) != {expected}:
        raise ValueError(
            f"action.{name} is {widths[1]} wide and state.{relative.state}, to which it is relative, {widths[0]}; set "
            f"start and end to {expected} columns each"
        )


class RelativeActions:
    """Turns the relative keys of whole actions around; the others pass.

    Args:
        keys: Action key -> what it is relative to.
        modality: The embodiment's keys.
    """

    def __init__(self, keys: Mapping[str, Relative], modality: Modality):
        starts, start = {}, 0
        for name, key in modality.state.items():
            starts[name] = (start, start + key.dim)
            start += key.dim
        self._dims = [key.dim for key in modality.action.values()]
        self._names = list(modality.action)
        self._of: Sequence[tuple[tuple[int, int], str | None] | None] = [
            (starts[keys[name].state], keys[name].pose) if name in keys else None for name in modality.action
        ]

    def __bool__(self) -> bool:
        return any(self._of)

    @property
    def poses(self) -> list[str]:
        """The keys that are poses: none of their numbers moves alone."""
        return [name for name, of in zip(self._names, self._of, strict=True) if of is not None and of[1] is not None]

    def to_absolute(self, actions: Tensor, state: Tensor | None) -> Tensor:
        """Actions [N, H, A] in the keys' order, and the raw state [N, S] or [N, frames, S], of which the last counts.

        Raises:
            ValueError: There is no state.
        """
        return self._turn(actions, state, _joined, _composed)

    def to_relative(self, actions: Tensor, state: Tensor | None) -> Tensor:
        """Undo :meth:`to_absolute`."""
        return self._turn(actions, state, _parted, _decomposed)

    def _turn(self, actions: Tensor, state: Tensor | None, joints: Any, poses: Any) -> Tensor:
        if not self:
            return actions
        if state is None:
            names = [name for name, of in zip(self._names, self._of, strict=True) if of]
            raise ValueError(f"actions {', '.join(names)} are relative to the state: give the raw state too")
        reference = (state[:, -1] if state.ndim == 3 else state).unsqueeze(1)  # [N, 1, S]
        parts = list(actions.split(self._dims, dim=-1))
        for i, of in enumerate(self._of):
            if of is not None:
                (start, end), pose = of
                origin = reference[..., start:end].to(parts[i].dtype)
                parts[i] = joints(parts[i], origin) if pose is None else poses(parts[i], origin, pose)
        return torch.cat(parts, dim=-1)


def _joined(x: Tensor, reference: Tensor) -> Tensor:
    return x + reference


def _parted(x: Tensor, reference: Tensor) -> Tensor:
    return x - reference


def _composed(x: Tensor, reference: Tensor, pose: str) -> Tensor:
    (turn, place), (turn_0, place_0) = _read_pose(x, pose), _read_pose(reference, pose)
    return _write_pose(turn_0 @ turn, _apply(turn_0, place) + place_0, pose, x.dtype)


def _decomposed(x: Tensor, reference: Tensor, pose: str) -> Tensor:
    (turn, place), (turn_0, place_0) = _read_pose(x, pose), _read_pose(reference, pose)
    back = turn_0.transpose(-1, -2)
    return _write_pose(back @ turn, _apply(back, place - place_0), pose, x.dtype)


def _apply(rotation: Tensor, vector: Tensor) -> Tensor:
    return (rotation @ vector.unsqueeze(-1)).squeeze(-1)


def _read_pose(x: Tensor, pose: str) -> tuple[Tensor, Tensor]:
    """[..., D] -> rotation [..., 3, 3] and place [..., 3] in float64, which autocast does not touch."""
    x = x.double()
    rotation = from_rot6d(x[..., 3:]) if pose == "xyz+rot6d" else from_rotvec(x[..., 3:])
    return rotation, x[..., :3]


def _write_pose(rotation: Tensor, place: Tensor, pose: str, dtype: torch.dtype) -> Tensor:
    turn = rotation[..., :2, :].flatten(-2) if pose == "xyz+rot6d" else to_rotvec(rotation)
    return torch.cat([place, turn], dim=-1).to(dtype)


def from_rot6d(x: Tensor) -> Tensor:
    """Two rows, made orthonormal one after the other, and their cross product: [..., 6] -> [..., 3, 3]."""
    first, second = x[..., :3], x[..., 3:]
    first = first / first.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    second = second - (first * second).sum(-1, keepdim=True) * first
    second = second / second.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-2)


def from_rotvec(x: Tensor) -> Tensor:
    """Axis times angle [rad] to rotation matrix (Rodrigues): [..., 3] -> [..., 3, 3]."""
    angle = x.norm(dim=-1)[..., None, None]
    none = torch.zeros_like(x[..., 0])
    a, b, c = x.unbind(-1)
    cross = torch.stack([none, -c, b, c, none, -a, -b, a, none], dim=-1).unflatten(-1, (3, 3))
    # sin(t)/t and (1 - cos(t))/t^2, which are smooth at 0
    sine, half = _sine_over(angle), _sine_over(angle / 2)
    identity = torch.eye(3, dtype=x.dtype, device=x.device)
    return identity + sine * cross + half**2 / 2 * (cross @ cross)


def _sine_over(t: Tensor) -> Tensor:
    """sin(t) / t of t >= 0, by operations that ONNX has (``torch.sinc`` is not among them); its gradient is finite."""
    return torch.where(t < 1e-6, 1 - t * t / 6, t.sin() / t.clamp_min(1e-6))


def to_rotvec(rotation: Tensor) -> Tensor:
    """Undo :func:`from_rotvec`, with an angle of at most pi: [..., 3, 3] -> [..., 3]."""
    quaternion = _quaternion(rotation)
    w, vector = quaternion[..., :1], quaternion[..., 1:]
    sine = vector.norm(dim=-1, keepdim=True)
    # onnxruntime has an arc tangent of float32 alone; sin(half - rough), to which it is wrong, is exact in float64
    rough = torch.atan2(sine.float(), w.float()).to(sine.dtype)
    half = rough + sine * (rough + torch.pi / 2).sin() - w * rough.sin()
    small = sine < 1e-9
    factor = torch.where(small, torch.ones_like(sine), half / torch.where(small, torch.ones_like(sine), sine))
    return 2 * factor * vector


def _quaternion(rotation: Tensor) -> Tensor:
    """(w, x, y, z), w >= 0, of rotation matrices: [..., 3, 3] -> [..., 4].

    Row i of the symmetric 4 x 4 matrix below is 4 q_i q; the one with the largest q_i is the most exact.
    """
    r = rotation
    trace = r[..., 0, 0] + r[..., 1, 1] + r[..., 2, 2]
    diagonal = [1 + trace, *(1 - trace + 2 * r[..., i, i] for i in range(3))]
    w_x, w_y, w_z = (r[..., i, j] - r[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0)))
    x_y, x_z, y_z = (r[..., i, j] + r[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    rows = [
        torch.stack([diagonal[0], w_x, w_y, w_z], dim=-1),
        torch.stack([w_x, diagonal[1], x_y, x_z], dim=-1),
        torch.stack([w_y, x_y, diagonal[2], y_z], dim=-1),
        torch.stack([w_z, x_z, y_z, diagonal[3]], dim=-1),
    ]
    best = torch.stack(diagonal, dim=-1).argmax(dim=-1)[..., None, None].expand(*trace.shape, 1, 4)
    row = torch.stack(rows, dim=-2).gather(-2, best).squeeze(-2)
    row = row / row.norm(dim=-1, keepdim=True)
    return torch.where(row[..., :1] < 0, -row, row)
