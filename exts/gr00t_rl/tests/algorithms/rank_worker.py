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
    return _learn(rank, "mlp", iterations=1, target_kl=0.02, num_learning_epochs=10)


def few_decisions(rank: int, folder: Path) -> dict[str, Any]:
    """Rank 0 has 2 decisions, rank 1 has 5: fewer than minibatches on one of them."""
    runner = make(rank, num_envs=(2, 5)[rank], num_mini_batches=4)
    runner.cfg["num_steps_per_env"] = runner.alg.num_steps = 1
    collect(runner)
    metrics = runner.alg.update()
    return {"weights": weights(runner.alg), "decisions": len(runner.alg.batch), "metrics": metrics}


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


def _gradient(rank: int, **options: Any) -> dict[str, Any]:
    """One full-batch gradient of 3 envs' decisions and of 9's, and the metrics; and what they were computed from."""
    settings = {"num_learning_epochs": 1, "num_mini_batches": 1, "max_grad_norm": 1e9, "entropy_coef": 0.01, **options}
    runner = make(rank, num_envs=(3, 9)[rank], **settings)
    alg = runner.alg
    collect(runner)
    batch = alg.batch.clone()
    alg.optimizer.step = lambda *_: None
    kls, final_kl = [], alg._final_kl
    alg._final_kl = lambda *args: kls.append(final_kl(*args)) or kls[-1]
    metrics = alg.update()
    gradient = torch.cat([p.grad.flatten() for p in alg.parameters()]).clone()
    found = {"batch": batch.to_dict(), "gradient": gradient, "metrics": metrics}
    return found | ({"final_kl": [float(kls[0][0]), kls[0][1]]} if kls else {})


def gradients(rank: int, folder: Path) -> dict[str, Any]:
    return _gradient(rank)


def gradients_per_mini_batch(rank: int, folder: Path) -> dict[str, Any]:
    return _gradient(rank, normalize_advantage_per_mini_batch=True, micro_batch_size=5)


def final_kl(rank: int, folder: Path) -> dict[str, Any]:
    return _gradient(rank, schedule="adaptive")


def moments(rank: int, folder: Path) -> dict[str, Any]:
    """Three batches of different sizes per rank."""
    from gr00t_rl.utils.moments import RunningMoments

    running = RunningMoments((3,))
    generator = torch.Generator().manual_seed(rank)
    parts = [100.0 + (rank + 1) * torch.randn(n + rank, 3, generator=generator) for n in (4, 9, 2)]
    for part in parts:
        running.update(part)
    return {"samples": torch.cat(parts), **{k: v.clone() for k, v in running.state_dict().items()}}


def _grpo(rank: int, informative: tuple[int, int] = (4, 4), **options: Any) -> dict[str, Any]:
    """One GRPO iteration with 4 groups per rank, of which the first ``informative[rank]`` tell episodes apart."""
    from gr00t_rl.algorithms import GRPO

    env = GroupedPointMassEnv(num_envs=16, termination=0.2, seed=10 + rank)
    settings = {"num_learning_epochs": 1, "num_mini_batches": 1, "max_grad_norm": 1e9, "entropy_coef": 0.01, **options}
    cfg = grpo_cfg(num_steps=5, **settings)
    cfg["multi_gpu"] = {"global_rank": rank, "local_rank": rank, "world_size": WORLD}
    torch.manual_seed(100 + rank)
    alg = GRPO.construct_algorithm(env.get_observations(), env, cfg, "cpu")  # type: ignore[arg-type]
    alg.broadcast_parameters()
    step = env.step

    def unpaid(actions: torch.Tensor) -> Any:
        obs, rewards, dones, extras = step(actions)
        rewards[4 * informative[rank] :] = 0.0
        return obs, rewards, dones, extras

    env.step = unpaid  # type: ignore[method-assign]
    before = weights(alg)
    collect(SimpleNamespace(alg=alg, env=env, cfg=cfg))
    results = {"before": before, "judged": alg.episodes.rewards.clone(), "success": alg.episodes.success.clone()}
    batch = alg.batch.clone()
    metrics = alg.update()
    gradient = torch.cat([p.grad.flatten() for p in alg.parameters()]).clone()
    return {**results, "batch": batch.to_dict(), "gradient": gradient, "weights": weights(alg), "metrics": metrics}


def grpo_4_4(rank: int, folder: Path) -> dict[str, Any]:
    return _grpo(rank)


def grpo_4_0(rank: int, folder: Path) -> dict[str, Any]:
    return _grpo(rank, (4, 0))


def grpo_4_1(rank: int, folder: Path) -> dict[str, Any]:
    return _grpo(rank, (4, 1))


def grpo_4_1_keep(rank: int, folder: Path) -> dict[str, Any]:
    return _grpo(rank, (4, 1), zero_std_groups="keep")


def grpo_4_1_episodes(rank: int, folder: Path) -> dict[str, Any]:
    return _grpo(rank, (4, 1), loss_average="episode")


def grpo_many_steps(rank: int, folder: Path) -> dict[str, Any]:
    """Several minibatches and epochs, a reference, and a rank without anything to learn."""
    return _grpo(rank, (2, 0), num_mini_batches=3, num_learning_epochs=2, kl_coef=0.1, schedule="adaptive")


def tally(rank: int, folder: Path) -> dict[str, Any]:
    """Numbers 1, 2, 3 on one rank, 10 and 20 on the other; one has no numbers at all."""
    from gr00t_rl.algorithms.ranks import Tally

    tally = Tally("cpu", WORLD)
    tally.add("some", torch.tensor([1.0, 2.0, 3.0] if rank == 0 else [10.0, 20.0]))
    tally.add("one-sided", torch.tensor([] if rank == 0 else [5.0, 7.0]))
    tally.report("mean", float(10 * rank), rank)  # 0 of nothing, and 10 of one
    metrics, moments = tally.exchange()
    return {"metrics": metrics, "moments": {k: [*m, m.mean, m.variance, m.std] for k, m in moments.items()}}


SCENARIOS = {
    f.__name__: f
    for f in (
        mlp,
        flow,
        target_kl,
        few_decisions,
        nonfinite,
        gradients,
        gradients_per_mini_batch,
        final_kl,
        moments,
        grpo_4_4,
        grpo_4_0,
        grpo_4_1,
        grpo_4_1_keep,
        grpo_4_1_episodes,
        grpo_many_steps,
        tally,
    )
}
