# SPDX-License-Identifier: BSD-3-Clause
"""Shapes of observations and actions, read off the cfgs before there is an env."""

from __future__ import annotations

from typing import Any

import torch

from ..utils.simulators import camera_of

STATE_DIM, CRITIC_DIM, ACTION_DIM = 32, 64, 7
"""Widths of what the cfgs do not say; no figure of an estimate hangs on them."""


def observed_shapes(env_cfg: Any, agent_cfg: Any) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Return the shape of one env's observation and its type, for each group that the agent reads."""
    modality = getattr(agent_cfg.actor, "modality", None)
    groups = dict.fromkeys(name for names in agent_cfg.obs_groups.values() for name in names)
    shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
    for name in groups:
        camera = camera_of(env_cfg, name)
        if camera is not None:
            shapes[name] = ((*_picture_size(env_cfg, camera), 3), torch.uint8)
        else:
            keys = [] if modality is None else [key for key in modality.state.values() if key.group == name]
            width = max((key.end for key in keys), default=CRITIC_DIM if name == "critic" else STATE_DIM)
            shapes[name] = ((width,), torch.float32)
    if getattr(env_cfg.observations, "instruction", None) is not None:
        shapes["instruction"] = ((1,), torch.int64)
    return shapes


def num_actions(agent_cfg: Any) -> int:
    """Return the action dimensions of the env."""
    modality = getattr(agent_cfg.actor, "modality", None)
    return ACTION_DIM if modality is None else max(key.end for key in modality.action.values())


def _picture_size(env_cfg: Any, camera: str) -> tuple[int, int]:
    """Height and width of a camera's pictures [px]; our tasks set the size of all of them at once."""
    side = getattr(env_cfg, "camera_size", None)
    if side is not None:
        return side, side
    cfg = getattr(env_cfg.scene, camera)
    return cfg.height, cfg.width
