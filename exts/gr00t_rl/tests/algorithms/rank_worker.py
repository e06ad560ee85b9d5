# SPDX-License-Identifier: BSD-3-Clause
"""One of several processes that train together, on the CPU with gloo; the tests compare what they write."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from helpers import GroupedPointMassEnv, PointMassEnv, collect, grpo_cfg, runner_cfg

WORLD = 2


def run(rank: int, folder: str) -> None:
    """Write the results of all scenarios of one rank to ``folder``."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD)
    try:
        results = {name: scenario(rank, Path(folder)) for name, scenario in SCENARIOS.items()}
    finally:
        dist.destroy_process_group()
    torch.save(results, f"{folder}/rank{rank}.pt")


def make(rank: int, num_envs: int = 4, actor: str = "mlp", log_dir: Path | None = None, **options: Any) -> Any:
    """Return an algorithm after broadcast, with what :func:`helpers.collect` wants; ranks have different data."""
    from gr00t_rl.algorithms import PPO

    env = PointMassEnv(num_envs=num_envs, seed=10 + rank)
    env.cfg.log_dir = None if log_dir is None else str(log_dir)  # type: ignore[attr-defined]
    cfg = runner_cfg(actor, **options)
    cfg["multi_gpu"] = {"global_rank": rank, "local_rank": rank, "world_size": WORLD}
    torch.manual_seed(100 + rank)  # ranks start with other weights and draw other noise
    alg = PPO.construct_algorithm(env.get_observations(), env, cfg, "cpu")  # type: ignore[arg-type]
    before = weights(alg)
    alg.broadcast_parameters()
    return SimpleNamespace(alg=alg, env=env, cfg=cfg, before=before)


def weights(alg: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in alg.parameters()]).clone()


def _learn(rank: int, actor: str, iterations: int = 2, **options: Any) -> dict[str, Any]:
    runner = make(rank, actor=actor, **options)
    alg = runner.alg
    results: dict[str, Any] = {"initial": runner.before, "broadcast": weights(alg), "rates": [], "metrics": []}
    for _ in range(iterations):
        collect(runner)
        results["returns"] = alg.batch["return"].clone()
        results["metrics"].append(alg.update())
        results["rates"].append([group["lr"] for group in alg.optimizer.param_groups])
    results["weights"] = weights(alg)
    results["buffers"] = {
        f"{i}.{name}": b.clone() for i, m in enumerate((alg.actor, alg.critic)) for name, b in m.named_buffers()
    }
    if alg.reward_scaler is not None:
        results["moments"] = {k: v.clone() for k, v in alg.reward_scaler.moments.state_dict().items()}
        results["running"] = alg.reward_scaler.returns.clone()
    return results


def mlp(rank: int, folder: Path) -> dict[str, Any]:
    return _learn(rank, "mlp", schedule="adaptive", reward_scaling=True)


def flow(rank: int, folder: Path) -> dict[str, Any]:
    return _learn(rank, "flow_sde_one", iterations=1, normalize_advantage_per_mini_batch=True)


def target_kl(rank: int, folder: Path) -> dict[str, Any]:
    return _learn(rank, "mlp", iterations=1, learning_rate=0.03, target_kl=0.02, num_learning_epochs=10)


def few_decisions(rank: int, folder: Path) -> dict[str, Any]:
    """Rank 0 has 2 decisions, rank 1 has 5: fewer than minibatches on one of them."""
    runner = make(rank, num_envs=(2, 5)[rank], num_mini_batches=4)
    runner.cfg["num_steps_per_env"] = runner.alg.num_steps = 1
    collect(runner)
    runner.alg.update()
    return {"weights": weights(runner.alg), "decisions": len(runner.alg.batch)}


def nonfinite(rank: int, folder: Path) -> dict[str, Any]:
    """The second rank's data alone are broken, in every step."""
    runner = make(rank, log_dir=folder / f"log{rank}", max_nonfinite_steps=3)
    collect(runner)
    if rank == 1:
        runner.alg.batch["return"] = runner.alg.batch["return"] * float("nan")
    before, line = weights(runner.alg), ""
    try:
        runner.alg.update()
    except SystemExit as error:
        line = str(error)
    return {"moved": not torch.equal(before, weights(runner.alg)), "skipped": runner.alg.guard.total, "line": line}


def gradients(rank: int, folder: Path) -> dict[str, Any]:
    """One full-batch gradient; what it was computed from, so that one process can compute it too."""
    runner = make(rank, num_learning_epochs=1, num_mini_batches=1, max_grad_norm=1e9)
    alg = runner.alg
    collect(runner)
    batch = alg.batch.clone()
    alg.optimizer.step = lambda *_: None
    alg.update()
    return {"batch": batch.to_dict(), "gradient": torch.cat([p.grad.flatten() for p in alg.parameters()]).clone()}


def moments(rank: int, folder: Path) -> dict[str, Any]:
    """Three batches of different sizes per rank."""
    from gr00t_rl.utils.moments import RunningMoments

    running = RunningMoments((3,))
    generator = torch.Generator().manual_seed(rank)
    parts = [100.0 + (rank + 1) * torch.randn(n + rank, 3, generator=generator) for n in (4, 9, 2)]
    for part in parts:
        running.update(part)
    return {"samples": torch.cat(parts), **{k: v.clone() for k, v in running.state_dict().items()}}


def _grpo(rank: int, barren: bool = False, **options: Any) -> dict[str, Any]:
    """One GRPO iteration; in the second rank, all episodes of a group earn the same if ``barren``."""
    from gr00t_rl.algorithms import GRPO

    env = GroupedPointMassEnv(termination=0.2, seed=10 + rank)
    cfg = grpo_cfg(num_learning_epochs=1, num_mini_batches=1, max_grad_norm=1e9, num_steps=5, **options)
    cfg["multi_gpu"] = {"global_rank": rank, "local_rank": rank, "world_size": WORLD}
    torch.manual_seed(100 + rank)
    alg = GRPO.construct_algorithm(env.get_observations(), env, cfg, "cpu")  # type: ignore[arg-type]
    alg.broadcast_parameters()
    if barren and rank == 1:
        step = env.step

        def unpaid(actions: torch.Tensor) -> Any:
            obs, rewards, dones, extras = step(actions)
            return obs, 0.0 * rewards, dones, extras

        env.step = unpaid
    before = weights(alg)
    collect(SimpleNamespace(alg=alg, env=env, cfg=cfg))
    results = {"before": before, "batch": alg.batch.clone().to_dict(), "judged": alg.episodes.rewards.clone()}
    alg.update()
    gradient = torch.cat([p.grad.flatten() for p in alg.parameters()]).clone()
    return {**results, "gradient": gradient, "weights": weights(alg)}


def grpo(rank: int, folder: Path) -> dict[str, Any]:
    return _grpo(rank, zero_std_groups="keep")


def grpo_barren_rank(rank: int, folder: Path) -> dict[str, Any]:
    return _grpo(rank, barren=True)


SCENARIOS = {
    f.__name__: f for f in (mlp, flow, target_kl, few_decisions, nonfinite, gradients, moments, grpo, grpo_barren_rank)
}
