# SPDX-License-Identifier: BSD-3-Clause
"""A camera that films a task, beside those that a policy may have."""

from __future__ import annotations

import copy
from typing import Any

SENSOR = "evaluation_film"
"""Name of the film's camera in the scene."""


def add_film_camera(env_cfg: Any, size: int) -> str | None:
    """Add a camera for films to an env cfg: a copy of the scene's first one, or what the cfg's ``film_camera()`` gives.

    Args:
        env_cfg: Cfg of the env that will be filmed; changed in place.
        size: Height and width of the pictures [px].

    Returns:
        None, or why nothing can be filmed.
    """
    from isaaclab.sensors import CameraCfg

    camera = next((value for value in vars(env_cfg.scene).values() if isinstance(value, CameraCfg)), None)
    if camera is not None:
        camera = copy.deepcopy(camera)
        camera.prim_path = f"{camera.prim_path}ForFilm"
    elif hasattr(env_cfg, "film_camera"):
        camera = env_cfg.film_camera()
    else:
        return "the scene has no camera"
    camera.width = camera.height = size
    camera.data_types = ["rgb"]
    _add_to_scene(env_cfg.scene, camera)
    return None


def _add_to_scene(scene: Any, camera: Any) -> None:
    """Add the film's camera to a scene cfg as a declared field, since checks refuse what a cfg does not declare."""
    from isaaclab.utils import configclass

    declared = {SENSOR: camera, "__annotations__": {SENSOR: Any}}
    scene.__class__ = configclass(type(type(scene).__name__, (type(scene),), declared))
    setattr(scene, SENSOR, camera)
