# SPDX-License-Identifier: BSD-3-Clause
"""Gymnasium's vectorised envs behind rsl_rl's ``VecEnv`` interface, for benchmarks without a simulator of robots."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from rsl_rl.env import VecEnv
from tensordict import TensorDict


class EnvCfg:
    """The little that rsl_rl and our algorithms ask of an env's cfg.

    Args:
        env_id: Name of the env.
    """

    def __init__(self, env_id: str) -> None:
        self.env_id, self.instruction = env_id, ""

    def to_dict(self) -> dict[str, Any]:
        """Return the cfg as a dict, for the log."""
        return {"env_id": self.env_id}


class GymVecEnv(VecEnv):
    """Envs of one Gymnasium id with a flat observation and action box, stepped in this process.

    Observation groups "policy" and "critic" are both the env's observation, float32 [N, S]. Actions in [-1, 1] are
    clipped and scaled to the action box. An env resets in the step that ends its episode; ``extras`` then holds the
    observations from before the resets ("final_obs") and tells time limits from failures ("time_outs").

    Args:
        env_id: A Gymnasium id, for example "Hopper-v5".
        num_envs: Number of envs N.
        seed: Seed of the envs; env i is seeded with ``seed + i``.

    Raises:
        ValueError: If observation or action are no boxes of one dimension, or an action has no bounds.
    """

    def __init__(self, env_id: str, num_envs: int, seed: int = 0) -> None:
        self.envs = gym.make_vec(
            env_id,
            num_envs=num_envs,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        )
        observations, actions = self.envs.single_observation_space, self.envs.single_action_space
        for name, space in (("observation", observations), ("action", actions)):
            if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
                raise ValueError(f"{env_id} has the {name} space {space}; choose an env with a flat Box")
        assert isinstance(actions, gym.spaces.Box)
        if not actions.is_bounded():
            raise ValueError(f"{env_id} has unbounded actions; choose an env whose action box has bounds")
        self._low, self._span = actions.low, actions.high - actions.low
        self.num_envs, self.num_actions, self.device = num_envs, actions.shape[0], "cpu"
        assert self.envs.spec is not None
        self.max_episode_length = self.envs.spec.max_episode_steps or 1000
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.long)
        self.cfg = EnvCfg(env_id)
        self._obs = self._group(self.envs.reset(seed=seed)[0])

    @property
    def unwrapped(self) -> GymVecEnv:
        """This env."""
        return self

    def get_observations(self) -> TensorDict:
        """Return the current observations, batch size [N]."""
        return self._obs

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Step all envs.

        Args:
            actions: float32 [N, A], of which [-1, 1] is used.

        Returns:
            Observations [N], rewards float32 [N], dones int64 [N] and extras with "time_outs" bool [N] and "final_obs".
        """
        share = 0.5 * (actions.detach().clamp(-1.0, 1.0).numpy().astype(np.float64) + 1.0)
        scaled = (self._low + share * self._span).astype(self.envs.single_action_space.dtype)
        obs, rewards, terminated, truncated, infos = self.envs.step(scaled)
        final = obs
        if "_final_obs" in infos:
            ended = infos["_final_obs"]
            final = obs.copy()
            final[ended] = np.stack(list(infos["final_obs"][ended]))
        dones = torch.from_numpy(terminated | truncated).long()
        self.episode_length_buf = (self.episode_length_buf + 1) * (1 - dones)
        self._obs = self._group(obs)
        extras = {
            "time_outs": torch.from_numpy(truncated & ~terminated),
            "final_obs": self._group(final).to_dict(),
        }
        return self._obs, torch.from_numpy(rewards).float(), dones, extras

    def close(self) -> None:
        """Close the envs."""
        self.envs.close()

    def _group(self, obs: np.ndarray) -> TensorDict:
        tensor = torch.from_numpy(np.asarray(obs, dtype=np.float32)).clone()
        return TensorDict({"policy": tensor, "critic": tensor.clone()}, batch_size=[self.num_envs])
