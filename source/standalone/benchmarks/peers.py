# SPDX-License-Identifier: BSD-3-Clause
"""Train our PPO, rsl_rl's own and Stable-Baselines3's on the same Gymnasium tasks, and record the episodic returns.

    pip install stable-baselines3 'gymnasium[mujoco]'
    python source/standalone/benchmarks/peers.py --out docs/results/peers.json --seeds 1 2 3
    python source/standalone/benchmarks/plot_peers.py --results docs/results/peers.json --image docs/images/peers.png

Every run takes the same number of env steps from the same number of envs, in iterations of the same length, with the
same discount. ``ours`` is the `ppo_v2` MLP with the continuous-control settings of "The 37 implementation details of
PPO"; ``sb3`` has the same numbers and ``VecNormalize``; ``rsl_rl`` has the settings that Isaac Lab's tasks use with it,
and ``rsl_rl_small_batch`` those with the minibatches and epochs of the other two. Returns are those of the episodes
that training runs, before any scaling. Each run is added to the study file ``--out`` as
``<task>_<library>_seed<seed>``; runs that are in it are not made again.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from records import add_run, read_study

NUM_ENVS, NUM_STEPS, EPOCHS, MINI_BATCHES = 8, 256, 10, 32


@dataclass(frozen=True)
class Task:
    """What the three libraries share on one task."""

    name: str
    env_steps: int
    gamma: float
    learning_rate: float

    @property
    def iterations(self) -> int:
        """Iterations that the budget of env steps pays for."""
        return self.env_steps // (NUM_ENVS * NUM_STEPS)


TASKS = {
    # Pendulum's discount and rate are those of RL Baselines3 Zoo
    "Pendulum-v1": Task("Pendulum-v1", 100_000, gamma=0.9, learning_rate=1e-3),
    "HalfCheetah-v5": Task("HalfCheetah-v5", 300_000, gamma=0.99, learning_rate=3e-4),
}


def ours_cfg(task: Task) -> dict[str, Any]:
    """Our `ppo_v2` MLP with the 37 details' numbers for one process."""
    model = {
        "class_name": "gr00t_rl.models:OrthogonalMLPModel",
        "hidden_dims": [64, 64],
        "activation": "tanh",
        "obs_normalization": True,
    }
    return {
        "actor": {**model, "output_gain": 0.01, "distribution_cfg": _gaussian("log")},
        "critic": model,
        "algorithm": {
            "class_name": "gr00t_rl.algorithms:PPO",
            "num_learning_epochs": EPOCHS,
            "num_mini_batches": MINI_BATCHES,
            "gamma": task.gamma,
            "learning_rate": task.learning_rate,
            "reward_scaling": True,
        },
    }


def rsl_rl_cfg(task: Task, epochs: int = 5, mini_batches: int = 4) -> dict[str, Any]:
    """rsl_rl's own PPO as Isaac Lab's tasks configure it: adaptive rate, value clipping, entropy bonus."""
    model = {"class_name": "MLPModel", "hidden_dims": [64, 64], "activation": "elu", "obs_normalization": True}
    return {
        "actor": {**model, "distribution_cfg": _gaussian("scalar")},
        "critic": model,
        "algorithm": {
            "class_name": "PPO",
            "num_learning_epochs": epochs,
            "num_mini_batches": mini_batches,
            "gamma": task.gamma,
            "learning_rate": 1e-3,
            "schedule": "adaptive",
            "desired_kl": 0.01,
            "entropy_coef": 0.005,
            "value_loss_coef": 1.0,
            "use_clipped_value_loss": True,
            "max_grad_norm": 1.0,
        },
    }


def _gaussian(std_type: str) -> dict[str, Any]:
    return {"class_name": "GaussianDistribution", "init_std": 1.0, "std_type": std_type}


def train_rsl_rl(cfg: dict[str, Any], task: Task, seed: int) -> list[tuple[int, float]]:
    """Train through rsl_rl's runner; return the env step at which each episode ended, and its return."""
    from gym_vec_env import GymVecEnv
    from rsl_rl.runners import OnPolicyRunner

    env = EpisodeRecorder(GymVecEnv(task.name, NUM_ENVS, seed=seed))
    cfg = {
        "num_steps_per_env": NUM_STEPS,
        "max_iterations": task.iterations,
        "save_interval": task.iterations,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        **cfg,
    }
    torch.manual_seed(seed)
    OnPolicyRunner(env, cfg, None, "cpu").learn(task.iterations)  # type: ignore[arg-type]
    return env.episodes


class EpisodeRecorder:
    """A VecEnv that notes when each episode of the wrapped one ended, and with which return.

    Args:
        env: The VecEnv; everything but ``step`` is passed on to it.
    """

    def __init__(self, env: Any) -> None:
        self.env = env
        self.episodes: list[tuple[int, float]] = []
        self._returns = torch.zeros(env.num_envs, dtype=torch.float64)
        self._steps = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)

    def step(self, actions: torch.Tensor) -> Any:
        """Step the env and add up its rewards."""
        obs, rewards, dones, extras = self.env.step(actions)
        self._steps += len(rewards)
        self._returns += rewards
        for i in dones.nonzero().flatten().tolist():
            self.episodes.append((self._steps, self._returns[i].item()))
            self._returns[i] = 0.0
        return obs, rewards, dones, extras


def train_sb3(task: Task, seed: int) -> list[tuple[int, float]]:
    """Train Stable-Baselines3's PPO with VecNormalize; return as :func:`train_rsl_rl`."""
    from gymnasium.wrappers import RescaleAction
    from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports]  # not a dependency of the project
    from stable_baselines3.common.callbacks import BaseCallback  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.env_util import make_vec_env  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.vec_env import VecNormalize  # pyright: ignore[reportMissingImports]

    class Episodes(BaseCallback):
        found: list[tuple[int, float]] = []

        def _on_step(self) -> bool:
            infos = self.locals["infos"]
            self.found += [(self.num_timesteps, info["episode"]["r"]) for info in infos if "episode" in info]
            return True

    # actions in [-1, 1], as GymVecEnv takes them
    scale = {"min_action": -1.0, "max_action": 1.0}
    envs = make_vec_env(task.name, NUM_ENVS, seed=seed, wrapper_class=RescaleAction, wrapper_kwargs=scale)
    env = VecNormalize(envs, gamma=task.gamma)
    model = PPO(
        "MlpPolicy",
        env,
        learning_rate=lambda remaining: task.learning_rate * remaining,
        n_steps=NUM_STEPS,
        batch_size=NUM_ENVS * NUM_STEPS // MINI_BATCHES,
        n_epochs=EPOCHS,
        gamma=task.gamma,
        seed=seed,
        device="cpu",
    )
    callback = Episodes()
    callback.found = []
    model.learn(task.iterations * NUM_ENVS * NUM_STEPS, callback)
    return callback.found


LIBRARIES = {
    "ours": lambda task, seed: train_rsl_rl(ours_cfg(task), task, seed),
    "rsl_rl": lambda task, seed: train_rsl_rl(rsl_rl_cfg(task), task, seed),
    "rsl_rl_small_batch": lambda task, seed: train_rsl_rl(rsl_rl_cfg(task, EPOCHS, MINI_BATCHES), task, seed),
    "sb3": train_sb3,
}


def run(library: str, task: Task, seed: int, out: Path) -> None:
    """Train once and add the episodes to the study ``out``, unless they are there."""
    name = f"{task.name}_{library}_seed{seed}"
    if name in read_study(out):
        return
    episodes = LIBRARIES[library](task, seed)
    content = {
        "task": task.name,
        "library": library,
        "seed": seed,
        "versions": {name: version(name) for name in ("torch", "gymnasium", "rsl-rl-lib", "stable-baselines3")},
        "num_envs": NUM_ENVS,
        "env_steps": task.iterations * NUM_ENVS * NUM_STEPS,
        "episode_ends": [step for step, _ in episodes],
        "returns": [round(float(r), 2) for _, r in episodes],
    }
    add_run(out, name, content)
    last = content["returns"][-max(1, len(episodes) // 10) :]
    print(f"{name}: last tenth {sum(last) / len(last):.1f}", flush=True)


def main() -> None:
    """Run what the command line asks for, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES), choices=list(LIBRARIES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, required=True, help="study file, such as docs/results/peers.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for task in args.tasks:
        for seed in args.seeds:
            for library in args.libraries:
                run(library, TASKS[task], seed, args.out)


if __name__ == "__main__":
    main()
