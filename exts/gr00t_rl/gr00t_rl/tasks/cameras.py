# SPDX-License-Identifier: BSD-3-Clause
"""What cameras of any task need: where they look, and how they render."""

import math

from isaaclab.utils import configclass
from isaaclab_newton.renderers import NewtonWarpRendererCfg
from isaaclab_tasks.utils.presets import MultiBackendRendererCfg


def look_at(eye: tuple[float, float, float], target: tuple[float, float, float]) -> tuple[float, float, float, float]:
    """Quaternion (x, y, z, w) that turns +x from ``eye`` to ``target`` [m] and keeps z up ("world" camera axes)."""
    dx, dy, dz = (t - e for e, t in zip(eye, target, strict=True))
    half_yaw = math.atan2(dy, dx) / 2
    half_pitch = -math.atan2(dz, math.hypot(dx, dy)) / 2
    return (
        -math.sin(half_yaw) * math.sin(half_pitch),
        math.cos(half_yaw) * math.sin(half_pitch),
        math.sin(half_yaw) * math.cos(half_pitch),
        math.cos(half_yaw) * math.cos(half_pitch),
    )


@configclass
class RendererCfg(MultiBackendRendererCfg):
    """Isaac Lab's renderer presets, with shadows under Newton: they show how high over the table a thing is."""

    newton_renderer: NewtonWarpRendererCfg = NewtonWarpRendererCfg(enable_shadows=True)
    default: NewtonWarpRendererCfg = NewtonWarpRendererCfg(enable_shadows=True)
