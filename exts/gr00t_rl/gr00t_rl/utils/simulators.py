# SPDX-License-Identifier: BSD-3-Clause
"""Which physics and which renderers an env cfg names: a policy that sees is good under those it was trained with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def simulator_of(env_cfg: Any) -> dict[str, str | bool]:
    """Return the physics and, by camera, the renderer of an env, with what changes its pictures.

    Args:
        env_cfg: The env's cfg with its presets chosen, or the tables that a run wrote of it.

    Returns:
        Such as ``{"physics": "NewtonManager", "front.renderer_type": "newton_warp", "front.enable_shadows": True}``;
        what the cfg does not say is missing.
    """
    found: dict[str, str | bool] = {}
    physics = _class_name(_get(_get(_get(env_cfg, "sim"), "physics"), "class_type"))
    if physics:
        found["physics"] = physics
    for name, part in _items(_get(env_cfg, "scene")):
        for setting, value in _items(_get(part, "renderer_cfg")):
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


def _get(owner: Any, name: str) -> Any:
    return owner.get(name) if isinstance(owner, Mapping) else getattr(owner, name, None)


def _items(owner: Any) -> Iterator[tuple[str, Any]]:
    if owner is not None:
        yield from (owner if isinstance(owner, Mapping) else getattr(owner, "__dict__", {})).items()


def _class_name(value: Any) -> str:
    """Name of a class, or of one that is named as "module:Class"."""
    return "" if value is None else getattr(value, "__name__", str(value)).rpartition(":")[2].rpartition(".")[2]
