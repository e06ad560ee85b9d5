# SPDX-License-Identifier: BSD-3-Clause
"""Runner configurations with recurrent models, and what their numbers should be, step by step."""

from __future__ import annotations

from typing import Any

import torch
from helpers import PointMassEnv, collect, runner_cfg
from tensordict import TensorDict

GAUSSIAN = {"class_name": "GaussianDistribution", "init_std": 0.5, "std_type": "log"}


def recurrent_cfg(rnn_type: str = "lstm", who: str = "both", layers: int = 2, **algorithm: Any) -> dict[str, Any]:
    """PPO with recurrent models; ``who`` is "both", "actor" or "critic", the other is an MLP."""
    cfg = runner_cfg("mlp", **algorithm)
    for name in ("actor", "critic") if who == "both" else (who,):
        cfg[name] = recurrent_model(rnn_type, layers, actor=name == "actor")
    return cfg


def recurrent_model(rnn_type: str = "lstm", layers: int = 1, actor: bool = True) -> dict[str, Any]:
    return {
        "class_name": "RNNModel",
        "hidden_dims": [16],
        "activation": "elu",
        "obs_normalization": True,
        "rnn_type": rnn_type,
        "rnn_hidden_dim": 8,
        "rnn_num_layers": layers,
        **({"distribution_cfg": dict(GAUSSIAN)} if actor else {}),
    }


class ByHand:
    """Runs a recurrent model one env and one step at a time, by torch's own layers."""

    def __init__(self, model: Any, num_envs: int) -> None:
        self.model = model
        self.states: list[Any] = [None] * num_envs  # torch starts from zeros

    @torch.no_grad()
    def __call__(self, obs: TensorDict) -> torch.Tensor:
        """Return what the network says of observations [N], and move on."""
        outputs = []
        for i in range(len(self.states)):
            x = self.model.obs_normalizer(torch.cat([obs[g][i : i + 1] for g in self.model.obs_groups], dim=-1))
            x, self.states[i] = self.model.rnn.rnn(x.unsqueeze(0), self.states[i])
            outputs.append(self.model.mlp(x.squeeze(0)))
        return torch.cat(outputs)

    def reset(self, dones: torch.Tensor) -> None:
        for i in dones.nonzero().flatten().tolist():
            self.states[i] = None


def collect_with_obs(runner: Any) -> tuple[list[TensorDict], list[torch.Tensor]]:
    """Collect one iteration; return the observations before and the dones after every step, and the last ones."""
    seen, dones = [], []
    act, process = runner.alg.act, runner.alg.process_env_step
    runner.alg.act = lambda obs: seen.append(obs.clone()) or act(obs)
    runner.alg.process_env_step = lambda obs, r, d, e: dones.append(d.clone()) or process(obs, r, d, e)
    collect(runner)
    del runner.alg.act, runner.alg.process_env_step
    return seen, dones


class CueEnv(PointMassEnv):
    """A cue of -1 or 1 is shown in the first step; the action of the last step should be it.

    Without memory no action is better than 0, which earns 0; with it, 1.
    """

    def __init__(self, num_envs: int = 64, max_episode_length: int = 4, seed: int = 0) -> None:
        super().__init__(num_envs, max_episode_length, termination=0.0, seed=seed)
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.long)

    def _start(self, n: int) -> torch.Tensor:
        return torch.randint(2, (n, 1), generator=self.generator) * 2.0 - 1.0

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        self.episode_length_buf = self.episode_length_buf + 1
        ended = self.episode_length_buf >= self.max_episode_length
        error = (actions[:, 0].clamp(-1.0, 1.0) - self.position[:, 0]).abs()
        rewards = torch.where(ended, 1.0 - error, 0.0)
        self.history.append({"rewards": rewards[ended]})
        self.position[ended] = self._start(int(ended.sum()))
        self.episode_length_buf[ended] = 0
        return self._observe(), rewards, ended.long(), {"time_outs": torch.zeros_like(ended)}

    def _observe(self, fresh: bool = False) -> TensorDict:
        clock = torch.nn.functional.one_hot(self.episode_length_buf, self.max_episode_length).float()
        obs = torch.cat((torch.where(self.episode_length_buf[:, None] == 0, self.position, 0.0), clock), dim=-1)
        return TensorDict({"policy": obs, "critic": obs.clone()}, [self.num_envs])
