# SPDX-License-Identifier: BSD-3-Clause
"""Measure what one iteration keeps per env: bytes of every stored tensor, for each place the features can be kept in.

    python source/standalone/benchmarks/memory_per_env.py --task Gr00t-Push-Cube-Franka-Camera

A real :class:`Gr00tActor` from the task's checkpoint decides on blank observations of the shapes the task has, and what
``store`` returns is weighed, with the dense arrays of :class:`DecisionStorage`. No simulator is started.
"""

from __future__ import annotations

import argparse

import torch
from isaaclab_tasks.utils.hydra import resolve_task_config
from tensordict import TensorDict

import gr00t_rl.tasks  # noqa: F401
from gr00t_rl.models import Gr00tActor
from gr00t_rl.storage import DecisionStorage

CRITIC_DIM = 49
"""Width of the privileged state of Push and Pick-Place."""
NOT_OURS = ("class_name", "stochastic", "distribution_cfg", "feature_cache", "instruction")


def record_sizes(env_cfg: object, agent_cfg: object, feature_cache: str, num_envs: int) -> dict[str, int]:
    """Bytes per decision of each stored tensor."""
    actor_cfg, size = agent_cfg.actor.to_dict(), env_cfg.camera_size  # type: ignore[attr-defined]
    modality = agent_cfg.actor.modality  # type: ignore[attr-defined]
    width = max(key.end for key in modality.state.values())
    obs = {"policy": torch.zeros(num_envs, width), "critic": torch.zeros(num_envs, CRITIC_DIM)}
    for group in modality.video.values():
        obs[group] = torch.zeros(num_envs, size, size, 3, dtype=torch.uint8)
    observations = TensorDict(obs, [num_envs])
    options = {key: value for key, value in actor_cfg.items() if key not in NOT_OURS}
    groups, action_dim = agent_cfg.obs_groups, max(key.end for key in modality.action.values())  # type: ignore[attr-defined]
    instruction = env_cfg.instruction  # type: ignore[attr-defined]
    actor = Gr00tActor(
        observations, groups, "actor", action_dim, feature_cache=feature_cache, instruction=instruction, **options
    )
    with torch.inference_mode():
        record = actor.store(actor.decide(actor.observe(observations))[1])
    return {str(name): record[name].nbytes // num_envs for name in record.keys()}  # noqa: SIM118


def main() -> None:
    """Print bytes per decision and per env and iteration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="Gr00t-Push-Cube-Franka-Camera")
    parser.add_argument("--num_envs", type=int, default=8)
    args, overrides = parser.parse_known_args()
    env_cfg, agent_cfg = resolve_task_config(args.task, "rsl_rl_cfg_entry_point", overrides=overrides)
    steps = agent_cfg.num_steps_per_env
    storage = DecisionStorage(args.num_envs, steps, 0.99, "cpu")
    arrays = (storage.rewards, storage.values, storage.discounts, storage.durations)
    dense = sum(array.nbytes for array in arrays) // args.num_envs
    decisions = -(-steps // agent_cfg.actor.n_action_steps)
    for place in ("device", "host", "pixels") if agent_cfg.actor.modality.video else ("device",):
        sizes = record_sizes(env_cfg, agent_cfg, place, args.num_envs)
        largest = ", ".join(f"{name} {size}" for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:4])
        total = sum(sizes.values())
        print(f"features kept on {place}: {total} B a decision ({largest})")
        print(f"    {decisions} decisions and {dense} B of arrays: {(decisions * total + dense) / 1024:.1f} KiB an env")


if __name__ == "__main__":
    main()
