# SPDX-License-Identifier: BSD-3-Clause
"""Measure what one iteration needs per env: what is kept of its decisions, and the most that was alive at one time.

    python source/standalone/benchmarks/memory_per_env.py --task Gr00t-Push-Cube-Franka-Camera

The task's agent plays and learns from two iterations of blank observations of the shapes that the task has, for each
place that features can be kept in; no simulator is started. Printed in KiB per env, networks and optimiser aside:

- ``kept``: the iteration's decisions, with all that is known of them;
- ``rollout``: the most that was alive at one time between env steps and while returns were computed;
- ``deciding``: the same with what the networks need for a moment when all envs decide at once;
- ``update``: the most that was alive in it. Most of it are activations: set agent.algorithm.micro_batch_size.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from isaaclab_tasks.utils.hydra import resolve_task_config
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict

import gr00t_rl.tasks  # noqa: F401
from gr00t_rl.launch.agent_cfg import for_installed_rsl_rl
from gr00t_rl.utils.allocations import LiveBytes

CRITIC_DIM = 49
"""Width of the privileged state of Push and Pick-Place."""


class BlankEnv:
    """A VecEnv of blank observations whose episodes last one iteration; starts are shared by all envs.

    Args:
        env_cfg: Of the task.
        agent_cfg: Of the agent.
        num_envs: Number of envs.
    """

    device = "cpu"

    def __init__(self, env_cfg: Any, agent_cfg: Any, num_envs: int) -> None:
        modality = agent_cfg.actor.modality
        self.num_envs, self.max_episode_length = num_envs, agent_cfg.num_steps_per_env
        self.num_actions = max(key.end for key in modality.action.values())
        width, size = max(key.end for key in modality.state.values()), env_cfg.camera_size
        obs = {"policy": torch.zeros(num_envs, width), "critic": torch.zeros(num_envs, CRITIC_DIM)}
        obs |= {group: torch.zeros(num_envs, size, size, 3, dtype=torch.uint8) for group in modality.video.values()}
        self._obs = TensorDict(obs, [num_envs])
        self.cfg = env_cfg
        self.cfg.start_group_size = getattr(agent_cfg.algorithm, "group_size", None)
        self.unwrapped = self
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.long)

    def get_observations(self) -> TensorDict:
        """Return blank observations."""
        return self._obs

    def reset(self) -> tuple[TensorDict, dict[str, Any]]:
        """Begin new episodes."""
        self.episode_length_buf.zero_()
        return self._obs, {}

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Pay at random, so that there is something to learn from; end all episodes at the iteration's end."""
        self.episode_length_buf += 1
        done = (self.episode_length_buf >= self.max_episode_length).long()
        self.episode_length_buf *= 1 - done
        return self._obs, torch.randn(self.num_envs), done, {"log": {}}


def measure(task: str, agent: str, place: str, num_envs: int, overrides: list[str]) -> dict[str, float]:
    """Return KiB per env by name, see the module; ``place`` is where features are kept."""
    env_cfg, agent_cfg = resolve_task_config(task, agent, overrides=[f"agent.actor.feature_cache={place}", *overrides])
    if agent_cfg.num_steps_per_env is None:
        agent_cfg.num_steps_per_env = 160
    for_installed_rsl_rl(agent_cfg)
    cfg = agent_cfg.to_dict()
    env = BlankEnv(env_cfg, agent_cfg, num_envs)
    runner = OnPolicyRunner(env, cfg, None, "cpu")  # type: ignore[arg-type]
    alg: Any = runner.alg
    alg.train_mode()
    sizes, aside = {}, 0
    with LiveBytes() as live:
        for _ in range(2):
            aside = _bytes_of_optimizer(alg)
            obs, between = env.get_observations(), []
            live.peak = 0
            with torch.inference_mode():
                for _ in range(alg.num_steps):
                    obs, rewards, dones, extras = env.step(alg.act(obs))
                    alg.process_env_step(obs, rewards, dones, extras)
                    between.append(live.now)
                sizes["deciding"], live.peak = live.peak, 0
                alg.compute_returns(obs)
            sizes["kept"] = sum(tensor.nbytes for tensor in alg.batch.values()) + _bytes_on_host(alg, place)
            sizes["rollout"], live.peak = max(*between, live.peak), 0
            alg.update()
            sizes["update"] = live.peak
    kept = sizes.pop("kept")
    return {name: (size - aside) / 1024 / num_envs for name, size in sizes.items()} | {"kept": kept / 1024 / num_envs}


def _bytes_of_optimizer(alg: Any) -> int:
    """Bytes of moments and gradients, which an update leaves behind."""
    moments = [t for state in alg.optimizer.state.values() for t in state.values()]
    return sum(t.nbytes for t in moments) + sum(p.grad.nbytes for p in alg.parameters() if p.grad is not None)


def _bytes_on_host(alg: Any, place: str) -> int:
    """Bytes of an iteration's features outside the records."""
    if place != "host":
        return 0
    one = alg.policy.observe(alg.env.get_observations()[:1])["features"].nbytes
    return one * len(alg.batch)


def main() -> None:
    """Print a line for each place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="Gr00t-Push-Cube-Franka-Camera")
    parser.add_argument("--agent", default="rsl_rl_cfg_entry_point")
    parser.add_argument("--num_envs", type=int, default=64)
    args, overrides = parser.parse_known_args()
    for place in ("device", "host", "pixels") if args.task.endswith("Camera") else ("device",):
        sizes = measure(args.task, args.agent, place, args.num_envs, overrides)
        texts = [f"{name} {sizes[name]:.1f}" for name in ("kept", "rollout", "deciding", "update")]
        share = sizes["rollout"] / sizes["kept"]
        print(f"features kept on {place}: {', '.join(texts)}; rollout / kept {share:.2f}", flush=True)


if __name__ == "__main__":
    main()
