# SPDX-License-Identifier: BSD-3-Clause
"""Success by start, counted by hand, and which positions tell starts apart."""

from types import SimpleNamespace

import numpy as np
import torch

from gr00t_rl.evaluation import Episodes
from gr00t_rl.evaluation.regions import by_region, regions, start_points_of


def test_cells_by_hand() -> None:
    """x from 0 to 0.3 m and y from 0 to 0.6 m: cells of 10 by 20 cm."""
    position = np.array([[0.0, 0.0], [0.05, 0.1], [0.05, 0.3], [0.15, 0.3], [0.3, 0.6], [0.25, 0.05]])
    success = np.array([True, False, True, True, False, True])
    grid = by_region(position, success)
    assert grid is not None
    np.testing.assert_allclose(grid["x_edges_m"], [0.0, 0.1, 0.2, 0.3])
    np.testing.assert_allclose(grid["y_edges_m"], [0.0, 0.2, 0.4, 0.6])
    assert grid["episodes"] == [[2, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert grid["successes"] == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_edges_are_whole_centimetres() -> None:
    grid = by_region(np.array([[0.3834, -0.2178], [0.5951, 0.2199]]), np.array([True, True]))
    assert grid is not None
    assert (grid["x_edges_m"][0], grid["x_edges_m"][-1]) == (0.38, 0.6)
    assert (grid["y_edges_m"][0], grid["y_edges_m"][-1]) == (-0.22, 0.22)


def test_a_fixed_start_has_no_regions() -> None:
    position = np.full((4, 3), 0.5)
    episodes = Episodes(np.zeros(4), np.ones(4, dtype=int), np.ones(4, dtype=bool), {"cup": position})
    assert by_region(position, np.ones(4, dtype=bool)) is None
    assert regions(episodes) == {}


def test_a_start_on_a_line_has() -> None:
    position = np.array([[0.5, -0.3], [0.5, 0.0], [0.5, 0.3]])
    grid = by_region(position, np.array([True, False, True]))
    assert grid is not None
    assert np.array(grid["episodes"]).sum(axis=0).tolist() == [1, 1, 1]


def _asset(x: float, kinematic: bool | None):
    root = SimpleNamespace(torch=torch.full((2, 3), x))
    properties = SimpleNamespace(kinematic_enabled=kinematic)
    cfg = SimpleNamespace(spawn=SimpleNamespace(rigid_props=properties))
    return SimpleNamespace(cfg=cfg, data=SimpleNamespace(root_pos_w=root))


class _Scene(dict):
    env_origins = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])

    @property
    def rigid_objects(self) -> dict:
        return self


def test_movable_objects_and_the_goal_are_the_start() -> None:
    scene = _Scene(cube=_asset(2.0, None), goal_marker=_asset(3.0, True))
    env = SimpleNamespace(cfg=SimpleNamespace(), scene=scene, _goal_position=torch.zeros(2, 3))
    points = start_points_of(env)()
    assert set(points) == {"cube", "goal"}
    assert points["cube"].tolist() == [[2.0, 2.0, 2.0], [1.0, 2.0, 2.0]]


def test_an_env_cfg_may_name_its_start() -> None:
    env = SimpleNamespace(cfg=SimpleNamespace(start_points={"cup": lambda env: env.cup}), cup=torch.ones(2, 3))
    assert start_points_of(env)()["cup"] is env.cup


def test_an_env_without_objects_has_no_start() -> None:
    assert dict(start_points_of(SimpleNamespace(cfg=SimpleNamespace()))()) == {}
