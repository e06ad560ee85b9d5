# SPDX-License-Identifier: BSD-3-Clause
"""What an env cfg says of physics, renderers and cameras: a policy that sees depends on what it was trained with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ENGINES = ("newton", "ovphysx", "physx")
"""Names of the engines, the longer of two that begin or end alike first."""


def simulator_of(env_cfg: Any) -> dict[str, str | bool]:
    """Return the physics and, by camera, the renderer of an env, with what changes its pictures.

    Args:
        env_cfg: The env's cfg with its presets chosen, or the tables that a run wrote of it.

    Returns:
        Such as ``{"physics": "newton", "front.renderer_type": "newton_warp", "front.enable_shadows": True}``;
        what the cfg does not say is missing.
    """
    found: dict[str, str | bool] = {}
    physics = _engine(_get(_get(_get(env_cfg, "sim"), "physics"), "class_type"))
    if physics:
        found["physics"] = physics
    for name, part in items_of(_get(env_cfg, "scene")):
        for setting, value in items_of(_get(part, "renderer_cfg")):
            if (setting == "renderer_type" or setting.startswith("enable_")) and isinstance(value, str | bool):
                found[f"{name}.{setting}"] = value
    return found


def differences(recorded: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """Return what both tell of and is not the same, such as "front.enable_shadows True, now False"."""
    return [
        f"{name} {value}, now {present[name]}"
        for name, value in recorded.items()
        if name in present and present[name] != value
    ]


def camera_of(env_cfg: Any, group: str) -> str | None:
    """Return the name of the camera that a term of an observation group reads, None if none does.

    Args:
        env_cfg: As for :func:`simulator_of`.
        group: Name of the group.
    """
    terms = items_of(_get(_get(env_cfg, "observations"), group))
    named = (_get(_get(term, "params"), "camera") for _, term in terms)
    return next((name for name in named if name), None)


def control_hz_of(env_cfg: Any) -> float | None:
    """Return how often per second an env acts; None where its cfg does not say. ``env_cfg``: as above."""
    step_s = (_get(env_cfg, "decimation") or 0) * (_get(_get(env_cfg, "sim"), "dt") or 0.0)
    return round(1 / step_s, 6) if step_s else None


def picture_sizes_of(env_cfg: Any, video: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Return height and width of the pictures [px], as our tasks set them or where a group's term names its camera.

    Args:
        env_cfg: As for :func:`simulator_of`.
        video: Observation group of each key.

    Returns:
        By key; those of which the cfg does not say are missing.
    """
    if side := _get(env_cfg, "camera_size"):
        return dict.fromkeys(video, (side, side))
    found = {}
    for key, group in video.items():
        name = camera_of(env_cfg, group)
        camera = _get(_get(env_cfg, "scene"), name) if name else None
        height, width = _get(camera, "height"), _get(camera, "width")
        if height and width:
            found[key] = (height, width)
    return found


def _get(owner: Any, name: str) -> Any:
    return owner.get(name) if isinstance(owner, Mapping) else getattr(owner, name, None)


def items_of(owner: Any) -> Iterator[tuple[str, Any]]:
    if owner is not None:
        yield from (owner if isinstance(owner, Mapping) else getattr(owner, "__dict__", {})).items()


def _engine(manager: Any) -> str:
    """Name of the engine behind a physics manager, a class or "module:Class"; the class' own for one we do not know."""
    name = "" if manager is None else getattr(manager, "__name__", str(manager)).rpartition(":")[2].rpartition(".")[2]
    return next((engine for engine in ENGINES if engine in name.lower()), name)
