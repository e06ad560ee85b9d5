# SPDX-License-Identifier: BSD-3-Clause
"""Physics presets of the tabletop tasks: ``physics=newton_mjwarp`` (default), ``ovphysx`` or ``physx``."""

from isaaclab.physics import PhysxAutoCfg
from isaaclab.utils import configclass
from isaaclab_newton.physics import NewtonCfg
from isaaclab_ov.physics import OvPhysxCfg
from isaaclab_physx.physics import PhysxCfg
from isaaclab_tasks.utils import PresetCfg

from .newton_graph import GraphedMJWarpSolverCfg
from .ovphysx_compat import allow_ovphysx_without_cuda

allow_ovphysx_without_cuda()

CONTROL_HZ = 20
"""Env steps per second."""

STEP_DT = 1.0 / CONTROL_HZ
"""Duration of an env step [s]."""

CONTACT_DT = STEP_DT / 3
"""Physics step for tasks that push [s]. A smaller one costs time in proportion and gains nothing."""

GRASP_DT = STEP_DT / 4
"""Physics step for tasks that grasp [s]: with a third of the env step, a carried cube slips by up to 13 mm under
Newton and is no longer told from a lost one; so, by up to 7 mm."""

FREE_SPACE_DT = 0.025
"""Physics step for tasks without contacts [s]: the arm tracks within a millimetre of what it does at 0.01 s."""


ROWS = 144
"""Rows of constraints per env for one cube. Rows are paid for, used or not."""

TWO_CUBE_ROWS = 192
"""The same for two. Experts reach 132 (stacking, with noise 0.3), policies that explore 170; contacts beyond are lost,
with a warning of Newton's. The rows cost Stack 7 % of its env steps per second (1,024 -> 952, 256 envs, one core)."""


@configclass
class ContactPhysicsCfg(PresetCfg):
    """For tasks with cubes. Values found by stacking and pushing 256 cubes under each of several settings."""

    isaacsim_physx: PhysxCfg = PhysxCfg(bounce_threshold_velocity=0.2)
    ovphysx: OvPhysxCfg = OvPhysxCfg()
    physx: PhysxAutoCfg = PhysxAutoCfg(isaacsim_physx=isaacsim_physx, ovphysx=ovphysx)
    newton_mjwarp: NewtonCfg = NewtonCfg(
        solver_cfg=GraphedMJWarpSolverCfg(
            solver="newton",
            integrator="implicitfast",
            cone="pyramidal",
            impratio=1.0,
            iterations=20,
            ls_iterations=50,
            njmax=ROWS,
            nconmax=48,
            disable_sensors=True,
            # Newton's collision pipeline: with MJWarp's own box contacts a turned cube sinks and topples.
            use_mujoco_contacts=False,
        ),
        num_substeps=1,
    )
    default: NewtonCfg = newton_mjwarp


@configclass
class TwoCubePhysicsCfg(ContactPhysicsCfg):
    """The same with room for the contacts of two cubes."""

    def __post_init__(self):
        for preset in (self.newton_mjwarp, self.default):
            solver = preset.solver_cfg
            assert solver is not None
            solver.njmax = TWO_CUBE_ROWS


@configclass
class FreeSpacePhysicsCfg(PresetCfg):
    """For tasks in which nothing touches anything: contacts are off under Newton."""

    isaacsim_physx: PhysxCfg = PhysxCfg(bounce_threshold_velocity=0.2)
    ovphysx: OvPhysxCfg = OvPhysxCfg()
    physx: PhysxAutoCfg = PhysxAutoCfg(isaacsim_physx=isaacsim_physx, ovphysx=ovphysx)
    newton_mjwarp: NewtonCfg = NewtonCfg(
        solver_cfg=GraphedMJWarpSolverCfg(
            solver="newton",
            integrator="implicitfast",
            cone="pyramidal",
            impratio=1.0,
            iterations=10,
            ls_iterations=50,
            njmax=20,
            nconmax=1,
            disable_sensors=True,
            disable_contacts=True,
        ),
        num_substeps=1,
    )
    default: NewtonCfg = newton_mjwarp
