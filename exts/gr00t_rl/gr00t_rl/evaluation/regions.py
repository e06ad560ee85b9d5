# SPDX-License-Identifier: BSD-3-Clause
"""Success by where things were when the episode began."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..utils.episode_recorder import Episodes, StartPoints

CELLS = 3
"""Cells of the grid along x and along y."""

_LEAST_SPREAD = 0.005
"""A position that varies less than this along x and y [m] has no regions."""


def start_points_of(env: Any) -> StartPoints:
    """Return a function for the positions in an env that can tell one start from another.

    An env cfg may name them itself: ``start_points = {"cup": cup_position}`` with functions of the env that return
    [M, 3] [m] in the env frame. Otherwise they are the movable rigid objects of the scene, and the goal of the
    tabletop tasks. An env with neither has none.

    Args:
        env: The unwrapped env.
    """
    named = getattr(env.cfg, "start_points", None)
    if named is not None:
        return lambda: {name: position(env) for name, position in named.items()}
    scene: Any = getattr(env, "scene", None)
    objects = [name for name, asset in getattr(scene, "rigid_objects", {}).items() if not _is_kinematic(asset.cfg)]
    has_goal = hasattr(env, "_goal_position")

    def points() -> Mapping[str, torch.Tensor]:
        found = {name: scene[name].data.root_pos_w.torch - scene.env_origins for name in objects}
        return found | {"goal": env._goal_position} if has_goal else found

    return points


def _is_kinematic(cfg: Any) -> bool:
    """Whether a rigid object is moved by the program, like a marker, and not by physics."""
    properties = getattr(getattr(cfg, "spawn", None), "rigid_props", None)
    return bool(getattr(properties, "kinematic_enabled", False))


def by_region(position: np.ndarray, success: np.ndarray, cells: int = CELLS) -> dict[str, Any] | None:
    """Count episodes and successes in the cells of a grid over the starts.

    The grid spans the positions, rounded outwards to whole centimetres, so that runs with many episodes share it.

    Args:
        position: Start of each episode, [N, 2 or more] [m]; x and y are used.
        success: Whether it succeeded, bool [N].
        cells: Cells along each axis.

    Returns:
        "x_edges_m" and "y_edges_m" (cells + 1 numbers each), "episodes" and "successes" as [x][y] lists of counts; None
        if all start at the same place.
    """
    low, high = position[:, :2].min(0), position[:, :2].max(0)
    if (high - low).max() < _LEAST_SPREAD:
        return None
    low, high = np.floor(low * 100) / 100, np.ceil(high * 100) / 100
    high = np.maximum(high, low + 0.01)
    edges = np.linspace(low, high, cells + 1)
    cell = ((position[:, :2] - low) / (high - low) * cells).astype(int).clip(0, cells - 1)
    episodes, successes = np.zeros((2, cells, cells), dtype=int)
    np.add.at(episodes, tuple(cell.T), 1)
    np.add.at(successes, tuple(cell[success].T), 1)
    return {
        "x_edges_m": edges[:, 0].round(4).tolist(),
        "y_edges_m": edges[:, 1].round(4).tolist(),
        "episodes": episodes.tolist(),
        "successes": successes.tolist(),
    }


def regions(episodes: Episodes) -> dict[str, Any]:
    """Return :func:`by_region` for every start position that varies, by name; empty without a success signal."""
    if episodes.success is None:
        return {}
    grids = {}
    for name, position in episodes.starts.items():
        known = np.isfinite(position).all(1)
        grids[name] = by_region(position[known], episodes.success[known]) if known.any() else None
    return {name: grid for name, grid in grids.items() if grid is not None}
