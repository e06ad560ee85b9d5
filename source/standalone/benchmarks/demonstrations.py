# SPDX-License-Identifier: BSD-3-Clause
"""Demonstrations for the flow policies of ``flow_finetune.py``: experts, recorded chunks, cloning, evaluation."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from gym_vec_env import GymVecEnv
from point_mass_env import MultiGoalPointMass
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict

from gr00t_rl.models import FlowMlpActor

Env = GymVecEnv | MultiGoalPointMass
GROUPS = {"actor": ["policy"], "critic": ["critic"]}


def make_env(name: str, num_envs: int, seed: int) -> Env:
    """Return the env ``name``: "point_mass" or a Gymnasium id."""
    return MultiGoalPointMass(num_envs, seed=seed) if name == "point_mass" else GymVecEnv(name, num_envs, seed)


class Demonstrations(NamedTuple):
    """Episodes of E envs over T steps."""

    obs: torch.Tensor
    """Observations, float32 [T, E, S]."""
    actions: torch.Tensor
    """The expert's actions there, without the noise of their execution, float32 [T, E, A]."""
    dones: torch.Tensor
    """Episode ends, bool [T, E]."""
    returns: list[float]
    """Returns of the episodes that ended."""

    def chunks(self, horizon: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return every observation [B, S] with the chunk [B, H, A] that followed and its mask bool [B, H].

        A chunk ends with its episode, or with the record; what lies beyond is masked.
        """
        steps = self.obs.shape[0]
        actions, masks, alive = [], [], torch.ones_like(self.dones)
        for h in range(horizon):
            index = (torch.arange(steps) + h).clamp(max=steps - 1)
            inside = (torch.arange(steps) + h < steps)[:, None]
            actions.append(self.actions[index])
            masks.append(alive & inside)
            alive = alive & ~self.dones[index]
        return self.obs.flatten(0, 1), torch.stack(actions, 2).flatten(0, 1), torch.stack(masks, 2).flatten(0, 1)


def train_expert(env_id: str, target: float, max_iterations: int, seed: int) -> tuple[Any, dict[str, float]]:
    """Train a Gaussian MLP with our PPO until its episodes return ``target`` on average, or for ``max_iterations``.

    Returns:
        The actor, and what was reached: return of the last 20 episodes, iterations, env steps.
    """
    torch.manual_seed(seed)
    env = GymVecEnv(env_id, num_envs=16, seed=seed)
    mlp = {
        "class_name": "OrthogonalMLPModel",
        "hidden_dims": [64, 64],
        "activation": "tanh",
        "obs_normalization": True,
    }
    gaussian = {"class_name": "GaussianDistribution", "init_std": 0.6, "std_type": "log"}
    algorithm = {
        "class_name": "gr00t_rl.algorithms:PPO",
        "num_learning_epochs": 10,
        "num_mini_batches": 16,
        "learning_rate": 5e-4,
        "schedule": "fixed",
        "reward_scaling": True,
    }
    cfg = {
        "num_steps_per_env": 256,
        "max_iterations": max_iterations,
        "save_interval": max_iterations + 1,
        "obs_groups": GROUPS,
        "actor": {**mlp, "output_gain": 0.01, "distribution_cfg": gaussian},
        "critic": mlp,
        "algorithm": algorithm,
    }
    runner = OnPolicyRunner(env, cfg, None, "cpu")
    tracker, iteration = ReturnTracker(env), 0
    while iteration < max_iterations and tracker.recent() < target:
        runner.learn(1)
        iteration += 1
        if iteration % 10 == 0:
            print(f"expert: iteration {iteration}, return {tracker.recent():.0f}", flush=True)
    reached = {
        "expert_rollout_return": tracker.recent(),
        "expert_iterations": iteration,
        "expert_env_steps": iteration * 256 * env.num_envs,
    }
    return runner.alg.get_policy().eval(), reached


class ReturnTracker:
    """Collects the returns of the episodes that end in an env, by listening to its ``step``.

    Args:
        env: The env.
    """

    def __init__(self, env: Env) -> None:
        self.returns: list[float] = []
        self._running = torch.zeros(env.num_envs)
        self._step, env.step = env.step, self._listen  # type: ignore[method-assign]

    def _listen(self, actions: torch.Tensor) -> Any:
        obs, rewards, dones, extras = self._step(actions)
        self._running += rewards
        ids = dones.nonzero().squeeze(-1)
        self.returns += self._running[ids].tolist()
        self._running[ids] = 0.0
        return obs, rewards, dones, extras

    def recent(self, count: int = 20) -> float:
        """Return the mean of the last ``count`` returns, -inf before there are so many."""
        return sum(self.returns[-count:]) / count if len(self.returns) >= count else -float("inf")

    def drain(self) -> float | None:
        """Return the mean of the returns since the last call, None if there were none, and forget them."""
        mean = sum(self.returns) / len(self.returns) if self.returns else None
        self.returns.clear()
        return mean


@torch.no_grad()
def record(env: Env, expert: Any, num_steps: int, noise: float, seed: int) -> Demonstrations:
    """Let ``expert`` act for ``num_steps`` steps of every env, with Gaussian noise added to what it does.

    Args:
        env: The env.
        expert: An rsl_rl model; not used on the point mass, whose demonstrator heads for one of the two nearest goals.
        num_steps: Steps of each env, T.
        noise: Standard deviation of the execution noise; what is recorded as action is without it.
        seed: Seed of goals and noise.
    """
    generator = torch.Generator().manual_seed(seed)
    tracker, obs = ReturnTracker(env), env.get_observations()
    parts: list[list[torch.Tensor]] = [[], [], []]
    goal = torch.empty(0)
    if isinstance(env, MultiGoalPointMass):
        goal = env.choose(obs["policy"], generator)
    for _ in range(num_steps):
        if isinstance(env, MultiGoalPointMass):
            action = env.demonstrator(obs["policy"], goal)
        else:
            action = expert(obs).clamp(-1.0, 1.0)
        parts[0].append(obs["policy"])
        obs, _, dones, _ = env.step(action + noise * torch.randn(action.shape, generator=generator))
        for part, value in zip(parts[1:], (action, dones.bool()), strict=True):
            part.append(value)
        if isinstance(env, MultiGoalPointMass):
            goal = torch.where(dones.bool()[:, None], env.choose(obs["policy"], generator), goal)
    return Demonstrations(*(torch.stack(part) for part in parts), returns=tracker.returns)


def clone(actor: FlowMlpActor, demonstrations: Demonstrations, num_steps: int, batch_size: int = 512) -> float:
    """Train the actor's velocity field by flow matching and return the mean loss of the last tenth of the steps.

    The observation's moments are those of the demonstrations from here on: if they went on moving with what the
    policy sees, the cloned policy would change without any gradient.
    """
    obs, actions, mask = demonstrations.chunks(actor.chunk_shape[0])
    actor.train()
    actor.update_normalization(TensorDict({"policy": obs}, [len(obs)]))
    freeze_normalizer(actor)
    optimizer = torch.optim.AdamW(actor.network.parameters(), lr=1e-3, weight_decay=1e-6)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    losses = []
    for _ in range(num_steps):
        ids = torch.randint(len(obs), (batch_size,))
        loss = actor.flow_matching_loss(TensorDict({"policy": obs[ids]}, [batch_size]), actions[ids], mask[ids])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    last = losses[-max(1, num_steps // 10) :]
    return sum(last) / len(last)


def freeze_normalizer(actor: FlowMlpActor) -> None:
    """Stop the observation's moments from moving; ``until`` is rsl_rl's switch for that."""
    assert actor.state_normalizer is not None
    actor.state_normalizer.until = 0


@torch.no_grad()
def evaluate(actor: Any, name: str, episodes: int, seed: int, init_noise_scale: float | None = None) -> dict[str, Any]:
    """Play one episode in each of ``episodes`` fresh envs without exploration noise, and return what came of it.

    Args:
        actor: An rsl_rl model.
        name: The env.
        episodes: Number of episodes.
        seed: Seed of envs and initial noise; the training's generator is left as it was.
        init_noise_scale: Scale of a flow policy's initial noise, its own where None.
    """
    env, kept = make_env(name, episodes, seed), torch.get_rng_state()
    scale, was_training = getattr(actor, "init_noise_scale", None), actor.training
    torch.manual_seed(seed)
    actor.eval()
    if init_noise_scale is not None:
        actor.init_noise_scale = init_noise_scale
    actor.reset()
    obs, returns, length = env.get_observations(), torch.zeros(episodes), torch.zeros(episodes)
    running, final = torch.ones(episodes, dtype=torch.bool), torch.zeros_like(env.get_observations()["policy"])
    while running.any():
        obs, rewards, dones, extras = env.step(actor(obs))
        actor.reset(dones)
        returns += rewards * running
        length += running
        ended = running & dones.bool()
        final[ended] = extras["final_obs"]["policy"][ended]
        running &= ~ended
    actor.train(was_training)
    if scale is not None:
        actor.init_noise_scale = scale
    torch.set_rng_state(kept)
    result = {"return": returns.mean().item(), "std": returns.std().item(), "length": length.mean().item()}
    result = {key: round(value, 3) for key, value in result.items()} | {"episodes": episodes}
    return result | (env.outcome(final) if isinstance(env, MultiGoalPointMass) else {})
