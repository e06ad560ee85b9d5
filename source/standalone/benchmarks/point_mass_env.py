# SPDX-License-Identifier: BSD-3-Clause
"""A point mass with several equally good goals: the smallest task whose demonstrations are multimodal."""

from __future__ import annotations

import math
from typing import Any

import torch
from gym_vec_env import EnvCfg
from rsl_rl.env import VecEnv
from tensordict import TensorDict


class MultiGoalPointMass(VecEnv):
    """A point in the plane with inertia and drag, and goals on the unit circle around it.

    State: position p and velocity v, both in R^2; action u in [-1, 1]^2. p' = p + dt v', v' = 0.9 v + 0.8 dt u with
    dt = 0.1 s. An episode lasts 40 steps. The reward of a step is minus the distance to the nearest goal, minus
    0.01 |u|^2: any goal will do, and the sooner the better. Observation groups "policy" and "critic" are (p, v),
    float32 [N, 4].

    Args:
        num_envs: Number of envs N.
        num_goals: Number of goals.
        seed: Seed of the starts, at rest and uniform in the disc of radius 0.6.
    """

    DT = 0.1
    RADIUS = 0.15
    """Distance from a goal at which the episode's end counts as success."""

    def __init__(self, num_envs: int, num_goals: int = 6, seed: int = 0) -> None:
        self.num_envs, self.num_actions, self.device, self.max_episode_length = num_envs, 2, "cpu", 40
        self.cfg = EnvCfg("point_mass")
        angle = 2.0 * math.pi * torch.arange(num_goals) / num_goals
        self.goals = torch.stack((angle.cos(), angle.sin()), dim=-1)
        self.generator = torch.Generator().manual_seed(seed)
        self.position, self.velocity = self._starts(num_envs), torch.zeros(num_envs, 2)
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.long)

    @property
    def unwrapped(self) -> MultiGoalPointMass:
        """This env."""
        return self

    def get_observations(self) -> TensorDict:
        """Return the current observations, batch size [N]."""
        state = torch.cat((self.position, self.velocity), dim=-1)
        return TensorDict({"policy": state, "critic": state.clone()}, batch_size=[self.num_envs])

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Step all envs; see :class:`gym_vec_env.GymVecEnv` for what is returned."""
        u = actions.detach().clamp(-1.0, 1.0)
        self.velocity = 0.9 * self.velocity + 0.8 * self.DT * u
        self.position = self.position + self.DT * self.velocity
        rewards = -self.distances(self.position).amin(-1) - 0.01 * u.square().sum(-1)
        self.episode_length_buf = self.episode_length_buf + 1
        time_outs = self.episode_length_buf >= self.max_episode_length
        extras = {"time_outs": time_outs, "final_obs": self.get_observations().to_dict()}
        ids = time_outs.nonzero().squeeze(-1)
        self.position[ids], self.velocity[ids] = self._starts(len(ids)), torch.zeros(len(ids), 2)
        self.episode_length_buf[ids] = 0
        return self.get_observations(), rewards, time_outs.long(), extras

    def distances(self, position: torch.Tensor) -> torch.Tensor:
        """Return the distances [B, G] of positions [B, 2] from all goals."""
        return (position[:, None] - self.goals).norm(dim=-1)

    def demonstrator(self, obs: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        """Return a sluggish PD controller's actions [N, 2] towards the goals ``goal`` [N, 2], for states [N, 4]."""
        return (2.0 * (goal - obs[:, :2]) - 0.5 * obs[:, 2:]).clamp(-1.0, 1.0)

    def choose(self, obs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return one of the two nearest goals [N, 2] for states [N, 4], either with probability 1/2."""
        nearest = self.distances(obs[:, :2]).topk(2, largest=False).indices
        return self.goals[nearest.gather(1, torch.randint(2, (len(obs), 1), generator=generator)).squeeze(1)]

    def outcome(self, final_obs: torch.Tensor) -> dict[str, Any]:
        """Return the success rate, and the share of each goal among the successes, of final states [E, 4]."""
        distance, goal = self.distances(final_obs[:, :2]).min(-1)
        reached = goal[distance < self.RADIUS]
        share = torch.bincount(reached, minlength=len(self.goals)) / max(1, len(reached))
        return {"success_rate": len(reached) / len(final_obs), "goal_shares": [round(s, 3) for s in share.tolist()]}

    def _starts(self, n: int) -> torch.Tensor:
        radius, angle = torch.rand(2, n, generator=self.generator)
        radius, angle = 0.6 * radius.sqrt(), 2.0 * math.pi * angle
        return torch.stack((radius * angle.cos(), radius * angle.sin()), dim=-1)
