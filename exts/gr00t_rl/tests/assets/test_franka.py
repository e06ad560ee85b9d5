# SPDX-License-Identifier: BSD-3-Clause
"""The arm's files are there, agree with their source, and carry what both engines need."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from pxr import Usd, UsdPhysics

from gr00t_rl import assets

FOLDER = Path(assets.__file__).parent / "franka"


@pytest.fixture
def stage() -> Any:
    return Usd.Stage.Open(assets.FRANKA_PRIMITIVE_CFG.spawn.usd_path)


def test_usd_is_local_and_complete(stage: Any) -> None:
    path = Path(assets.FRANKA_PRIMITIVE_CFG.spawn.usd_path)
    assert path.is_relative_to(FOLDER) and path.is_file()
    joints = [prim for prim in stage.Traverse() if prim.IsA(UsdPhysics.RevoluteJoint)]
    fingers = [prim for prim in stage.Traverse() if prim.IsA(UsdPhysics.PrismaticJoint)]
    assert sorted(joint.GetName() for joint in joints) == [f"panda_joint{i}" for i in range(1, 8)]
    assert len(fingers) == 2


def test_base_is_fixed_for_physx(stage: Any) -> None:
    """A root on the base link would be a floating base under PhysX."""
    roots = [prim.GetName() for prim in stage.Traverse() if prim.HasAPI(UsdPhysics.ArticulationRootAPI)]
    assert roots == ["Geometry"]


def test_joints_get_drives() -> None:
    """Without drives the arm collapses under PhysX, silently."""
    spawn = assets.FRANKA_PRIMITIVE_CFG.spawn
    assert spawn.joint_drive_props and spawn.joint_drive_props_create_if_missing


def test_mjcf_is_what_its_maker_writes() -> None:
    spec = importlib.util.spec_from_file_location("make_franka", FOLDER / "make_franka.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert (FOLDER / "franka.xml").read_text() == maker.build()
