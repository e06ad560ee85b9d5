# SPDX-License-Identifier: BSD-3-Clause
"""Camera pictures, taken only when somebody will look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from isaaclab.managers import ManagerTermBase, ObservationTermCfg

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedRLEnv


class decision_image(ManagerTermBase):
    """RGB picture of a camera, uint8 [N, H, W, 3], refreshed only for a step after which some env decides.

    A policy that plays chunks of actions looks once per chunk, and rendering is a large part of a step's time. An
    algorithm says who looks next by keeping ``env.decision_due``, bool [N], set before ``env.step``: the envs whose
    action chunk is used up after that step. Then the camera renders if any env is due or has just been reset, and
    otherwise the last picture is returned again. Without ``decision_due`` it renders every step. An algorithm that
    looks at one episode per env only, or whose envs all decide at the same steps, sets ``env.new_episodes_decide`` to
    False, and a reset alone renders nothing then.

    The observation that Isaac Lab computes just before a reset (``extras["final_obs"]``) never renders: its pictures
    are those of the last decision.

    Term params:
        camera: Name of a camera of the scene.
    """

    def __init__(self, cfg: ObservationTermCfg, env: ManagerBasedRLEnv):
        super().__init__(cfg, env)
        camera = env.scene[cfg.params["camera"]].cfg
        self._picture = torch.zeros(env.num_envs, camera.height, camera.width, 3, dtype=torch.uint8, device=env.device)

    def __call__(self, env: ManagerBasedRLEnv, camera: str) -> torch.Tensor:
        if self._wanted(env):
            timer = getattr(env, "render_timer", None)  # an algorithm's, which wants to know what this takes
            if timer is not None:
                timer.start()
            # Reading the data is what makes the sensor render.
            self._picture = env.scene[camera].data.output["rgb"].torch[..., :3].clone()
            if timer is not None:
                timer.lap("render")
        return self._picture

    @staticmethod
    def _wanted(env: ManagerBasedRLEnv) -> bool:
        started = env.episode_length_buf == 0
        before_reset = (env.reset_buf & ~started).any()
        due = getattr(env, "decision_due", None)
        if not getattr(env, "new_episodes_decide", True):
            started = torch.zeros_like(started)
        looks = (due | started).any() if due is not None else torch.ones_like(before_reset)
        # One bool from the device: whether to launch a render is a decision of the host.
        return bool(looks & ~before_reset)
