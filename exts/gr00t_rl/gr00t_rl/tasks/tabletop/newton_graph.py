# SPDX-License-Identifier: BSD-3-Clause
"""Newton's steps on a CPU as one recorded graph: the same numbers, without Python between its kernels.

On CUDA Isaac Lab 3.0.0 records a physics step as a graph and replays it. On a CPU it launches each of some two hundred
kernels from Python, which takes as long as the kernels themselves where there are few envs. Warp records graphs on
CPUs too. ``docs/tasks.md`` says what it gains.

Remove this module, and use ``MJWarpSolverCfg`` again, once ``isaaclab_newton`` records graphs on CPUs itself.
"""

from __future__ import annotations

from collections.abc import Callable

import warp as wp
from isaaclab.physics import PhysicsManager
from isaaclab.utils import configclass
from isaaclab_newton.physics import MJWarpSolverCfg
from isaaclab_newton.physics.mjwarp_manager import NewtonMJWarpManager


class NewtonGraphedMJWarpManager(NewtonMJWarpManager):
    """MuJoCo Warp whose steps are recorded once and replayed, on a CPU as Isaac Lab does it on CUDA.

    A graph holds addresses. The first step after a reset of the simulation runs as it stands, so that everything is
    allocated; the second is recorded. ``use_cuda_graph=False`` of ``NewtonCfg`` switches graphs off on both devices.
    """

    _cpu_graph: wp.Graph | None = None
    _steps_before_recording = 1

    @classmethod
    def _invalidate_graph(cls) -> None:
        super()._invalidate_graph()
        NewtonGraphedMJWarpManager._cpu_graph = None
        NewtonGraphedMJWarpManager._steps_before_recording = 1

    @classmethod
    def _simulate_full(cls) -> None:
        cls._simulate(super()._simulate_full)

    @classmethod
    def _simulate_physics_only(cls) -> None:
        cls._simulate(super()._simulate_physics_only)

    @classmethod
    def _simulate(cls, step: Callable[[], None]) -> None:
        """Run ``step``: eagerly on CUDA, where the caller records it, and from the graph on a CPU."""
        graphed = NewtonGraphedMJWarpManager
        device = wp.get_device(PhysicsManager._device)
        if not device.is_cpu or not PhysicsManager._cfg.use_cuda_graph:  # type: ignore[union-attr]
            step()
            return
        if graphed._steps_before_recording > 0:
            graphed._steps_before_recording -= 1
            step()
            return
        if graphed._cpu_graph is None:
            with wp.ScopedCapture(device=device) as capture:  # records without running
                step()
            graphed._cpu_graph = capture.graph
        wp.capture_launch(graphed._cpu_graph)

    @classmethod
    def close(cls) -> None:
        NewtonGraphedMJWarpManager._cpu_graph = None
        super().close()


@configclass
class GraphedMJWarpSolverCfg(MJWarpSolverCfg):
    """Isaac Lab's MuJoCo Warp solver, with graphs on CPUs."""

    class_type: type | str = "{DIR}.newton_graph:NewtonGraphedMJWarpManager"
