# SPDX-License-Identifier: BSD-3-Clause
"""What a checkpoint's own files do not say of a policy, in a file of ours beside them.

The official layout holds weights, statistics and, for N1.7, a recipe. It says neither how N1.5's keys are normalised
and in which order they stand, nor how many steps of a chunk were executed in training. Other programs ignore the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from .checkpoint import SETTINGS_FILE
from .modality import Modality


@dataclass(frozen=True)
class PolicySettings:
    """How a policy is run.

    Raises:
        ValueError: A value that cannot be meant; the message starts with the field.
    """

    modality: Modality
    """The embodiment's keys, how they are normalised, and their order."""
    embodiment_id: int
    """Row of the per-embodiment weights."""
    n_action_steps: int | None = None
    """Steps of a chunk that are executed; None: all that the network gives."""
    num_inference_timesteps: int | None = None
    """Denoising steps; None: the checkpoint's own number."""
    init_noise_scale: float = 1.0
    """Scale of the initial noise: 1 as the network was trained, 0 deterministic."""
    instructions: list[str] = field(default_factory=list)
    """What the policy was told in training."""
    image_sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Video key -> (height, width) [px] of the pictures in training; keys that are not known are missing."""
    control_hz: float | None = None
    """Actions per second in training [Hz]."""
    simulator: dict[str, str | bool] = field(default_factory=dict)
    """Physics and renderers in training; empty where they are not known, and for a real robot."""

    def __post_init__(self) -> None:
        _expect(_is_count(self.embodiment_id, 0), "embodiment_id", self.embodiment_id, "the row, 0 or more")
        for name in ("n_action_steps", "num_inference_timesteps"):
            value = getattr(self, name)
            _expect(value is None or _is_count(value, 1), name, value, "1 or more, or null")
        scale, rate = self.init_noise_scale, self.control_hz
        _expect(_is_number(scale) and scale >= 0, "init_noise_scale", scale, "a number of at least 0")
        _expect(rate is None or (_is_number(rate) and rate > 0), "control_hz", rate, "a number above 0, or null")
        texts = self.instructions
        are_texts = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        _expect(are_texts, "instructions", texts, "a list of texts")
        _expect(isinstance(self.image_sizes, Mapping), "image_sizes", self.image_sizes, "a table of video keys")
        for name, size in self.image_sizes.items():
            _expect(name in self.modality.video, "image_sizes", name, f"keys of {list(self.modality.video)}")
            is_size = isinstance(size, (list, tuple)) and len(size) == 2 and all(_is_count(side, 1) for side in size)
            _expect(is_size, f"image_sizes.{name}", size, "[height, width] in pixels")
        table = self.simulator
        is_table = isinstance(table, Mapping) and all(isinstance(value, str | bool) for value in table.values())
        _expect(is_table, "simulator", table, "a table of texts")
        object.__setattr__(self, "image_sizes", {name: tuple(size) for name, size in self.image_sizes.items()})

    @classmethod
    def from_dict(cls, content: Any) -> Self:
        """Build them from plain tables.

        Raises:
            ValueError: Unknown or missing fields, or what the class raises.
        """
        known = [entry.name for entry in fields(cls)]
        if not isinstance(content, Mapping):
            raise ValueError(f"the settings are {content!r}; set a table of {', '.join(known)}")
        for name in content:
            _expect(name in known, str(name), content[name], f"none but {', '.join(known)}")
        for name in ("modality", "embodiment_id"):
            _expect(name in content, name, None, "it, which is needed")
        try:
            modality = Modality.from_dict(content["modality"])
        except ValueError as error:
            raise ValueError(f"modality.{error}") from None
        return cls(**{**content, "modality": modality})

    @classmethod
    def read(cls, assets: Mapping[str, bytes]) -> Self | None:
        """Read them from a checkpoint's files; None where there are none.

        Raises:
            ValueError: The file is not readable, or what :meth:`from_dict` raises.
        """
        if SETTINGS_FILE not in assets:
            return None
        try:
            return cls.from_dict(json.loads(assets[SETTINGS_FILE]))
        except ValueError as error:
            raise ValueError(f"{SETTINGS_FILE}: {error}") from None

    def check(self, modality: Modality | None, embodiment_id: int) -> None:
        """Make sure that a run has the row of the weights, and treats pictures, states and actions, as trained.

        Where the env keeps them (groups and columns) is the env's own business, and not compared.

        Args:
            modality: That of the run; None: the env's groups as they are, which cannot be compared.
            embodiment_id: Row of the per-embodiment weights.

        Raises:
            ValueError: What differs first; the message starts with the setting.
        """
        found: tuple[str, Any, Any] | None = None
        if embodiment_id != self.embodiment_id:
            found = "embodiment_id", embodiment_id, self.embodiment_id
        elif modality is not None and (differing := first_difference(modality, self.modality)) is not None:
            found = f"modality.{differing[0]}", *differing[1:]
        if found is not None:
            name, given, trained = found
            raise ValueError(
                f"{name} is {given!r}, but the policy was trained with {trained!r} ({SETTINGS_FILE} in its folder); "
                "set that"
            )

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()


_NOT_COMPARED = ("group", "start", "end", "relative_to", "pose", "hold")
"""The env's own places, and what N1.7's files say where a modality is silent."""


def first_difference(given: Modality, trained: Modality) -> tuple[str, Any, Any] | None:
    """Return in what a modality treats a network otherwise than it was trained: field, value here and value there.

    None where nothing differs. Some of the cameras may be left out, which nobody does by mistake.
    """
    known = _treatment(trained)
    kept = [name for name in known["video"] if name in given.video]
    for name, value in _treatment(given).items():
        if name == "video" and kept and value == kept:
            continue
        if value != known.get(name):
            return name, value, known.get(name)
    return None


def _treatment(modality: Modality) -> dict[str, Any]:
    """What a network sees of a modality: field -> value, comparable between envs."""
    parts = {"state": modality.state, "action": modality.action}
    table: dict[str, Any] = {"embodiment_tag": modality.embodiment_tag}  # which of the statistics
    table |= {part: list(keys) for part, keys in ({"video": modality.video} | parts).items()}
    for part, keys in parts.items():
        for name, key in keys.items():
            entry = {"columns": key.dim} | asdict(key)
            compared = [field for field in entry if field not in _NOT_COMPARED]
            table |= {f"{part}.{name}.{field}": entry[field] for field in compared}
    return table | {"video_crop": modality.video_crop}


def _expect(is_right: bool, name: str, value: Any, expected: str) -> None:
    if not is_right:
        raise ValueError(f"{name} is {value!r}; set {expected}")


def _is_count(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")
