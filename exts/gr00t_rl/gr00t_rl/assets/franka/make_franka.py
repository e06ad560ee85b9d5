# SPDX-License-Identifier: BSD-3-Clause
"""Write the Franka Emika Panda from primitive shapes, with the names of Isaac Lab's own Panda.

Link frames and joint limits are the ones Franka publishes; every shape and inertia is our own primitive. Only the palm
and the finger pads collide: the links are drawn but take part in no contact, which saves broad-phase work.

Three steps, the second in an environment that has ``mujoco-usd-converter``, the third in one that has Isaac Lab::

    python make_franka.py write
    mujoco_usd_converter franka.xml usd --no-physics-scene
    python make_franka.py fix-base
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

_S = "0.70710678"


class Link(NamedTuple):
    """One revolute link: its frame in the parent, its joint, and the capsule that draws it."""

    name: str
    pos: str  # [m]
    quat: str  # (w, x, y, z)
    limits: str  # [rad]
    max_torque: int  # [N m]
    mass: float  # [kg]
    capsule: str  # from, to [m]
    radius: float  # [m]


LINKS = (
    Link("1", "0 0 0.333", "1 0 0 0", "-2.8973 2.8973", 87, 2.7, "0 0 -0.19 0 0 0", 0.06),
    Link("2", "0 0 0", f"{_S} -{_S} 0 0", "-1.7628 1.7628", 87, 2.7, "0 0 -0.05 0 0 0.05", 0.06),
    Link("3", "0 -0.316 0", f"{_S} {_S} 0 0", "-2.8973 2.8973", 87, 2.4, "0 0 -0.2 0 0 -0.06", 0.055),
    Link("4", "0.0825 0 0", f"{_S} {_S} 0 0", "-3.0718 -0.0698", 87, 2.4, "0 0 -0.05 0 0 0.05", 0.055),
    Link("5", "-0.0825 0.384 0", f"{_S} -{_S} 0 0", "-2.8973 2.8973", 60, 2.6, "0 0 -0.26 0 0.03 -0.08", 0.05),
    Link("6", "0 0 0", f"{_S} {_S} 0 0", "-0.0175 3.7525", 60, 1.3, "0 0 -0.03 0.06 0 0", 0.045),
    Link("7", "0.088 0 0", f"{_S} {_S} 0 0", "-2.8973 2.8973", 60, 0.5, "0 0 0.05 0 0 0.07", 0.045),
)
FINGERS = (
    ("panda_leftfinger", "panda_finger_joint1", "1 0 0 0"),
    ("panda_rightfinger", "panda_finger_joint2", "0 0 0 1"),
)

# MuJoCo gives a contact pair the larger of its two frictions: grippy pads hold a cube that still slides on the table.
DEFAULTS = """<default>
<default class="visual"><geom contype="0" conaffinity="0" rgba="0.92 0.92 0.94 1"/></default>
<default class="palm"><geom condim="3" friction="0.6 0.005 0.0001" rgba="0.3 0.3 0.33 1"/></default>
<default class="pad"><geom condim="4" friction="1.5 0.02 0.0001" rgba="0.15 0.15 0.18 1"/></default>
</default>"""


def _revolute(link: Link) -> str:
    """Opening of one link body; the caller closes it after the links it carries."""
    return f"""<body name="panda_link{link.name}" pos="{link.pos}" quat="{link.quat}">
<joint name="panda_joint{link.name}" type="hinge" axis="0 0 1" range="{link.limits}" armature="0.2" damping="1"
 actuatorfrcrange="-{link.max_torque} {link.max_torque}"/>
<geom class="visual" type="capsule" size="{link.radius}" fromto="{link.capsule}" mass="{link.mass}"/>"""


def _finger(body: str, joint: str, quat: str) -> str:
    return f"""<body name="{body}" pos="0 0 0.0584" quat="{quat}">
<joint name="{joint}" type="slide" axis="0 1 0" range="0 0.04" armature="0.1" damping="1" actuatorfrcrange="-70 70"/>
<geom name="{body}_pad" class="pad" type="box" size="0.01 0.006 0.027" pos="0 0.0062 0.027" mass="0.08"/>
</body>"""


def build() -> str:
    """The MJCF document."""
    parts = ['<mujoco model="franka">', '<compiler angle="radian" autolimits="true"/>', DEFAULTS, "<worldbody>"]
    parts += ['<body name="panda_link0">']
    parts += ['<geom class="visual" type="cylinder" size="0.08 0.07" pos="0 0 0.07" mass="3"/>']
    parts += [_revolute(link) for link in LINKS]
    parts += ['<body name="panda_hand" pos="0 0 0.107" quat="0.92387953 0 0 -0.38268343">']
    parts += ['<geom name="palm" class="palm" type="box" size="0.03 0.1 0.028" pos="0 0 0.028" mass="0.7"/>']
    parts += [_finger(*finger) for finger in FINGERS]
    parts += ["</body>"] * (len(LINKS) + 2) + ["</worldbody>", "</mujoco>"]
    return "\n".join(parts) + "\n"


def fix_base(layer_path: Path) -> None:
    """Move the articulation root from the base link, where the converter puts it, to the link's parent.

    PhysX takes a root on a link as a floating base: the joint that holds it to the world then is a stiff constraint,
    the arm has six more degrees of freedom, and its base wanders off. Newton takes either.
    """
    from pxr import Sdf

    layer: Any = Sdf.Layer.FindOrOpen(str(layer_path))  # the bindings' stubs allow for None
    base = layer.GetPrimAtPath("/franka/Geometry/panda_link0")
    schemas = base.GetInfo("apiSchemas").GetAddedOrExplicitItems()
    root = [schema for schema in schemas if "ArticulationRoot" in schema]
    if not root:
        return
    base.SetInfo("apiSchemas", Sdf.TokenListOp.Create(prependedItems=[s for s in schemas if s not in root]))
    base.nameParent.SetInfo("apiSchemas", Sdf.TokenListOp.Create(prependedItems=root))
    # The one attribute of NewtonArticulationRootAPI that the converter writes.
    mobility = "newton:jointsAddMobility"
    Sdf.CopySpec(layer, base.path.AppendProperty(mobility), layer, base.nameParent.path.AppendProperty(mobility))
    base.RemoveProperty(base.properties[mobility])
    layer.Save()


if __name__ == "__main__":
    here = Path(__file__).parent
    match sys.argv[1:]:
        case ["write"]:
            (here / "franka.xml").write_text(build())
        case ["fix-base"]:
            fix_base(here / "usd" / "Payload" / "Physics.usda")
        case _:
            sys.exit("usage: make_franka.py write | fix-base")
