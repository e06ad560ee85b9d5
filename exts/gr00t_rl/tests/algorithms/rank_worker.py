# SPDX-License-Identifier: BSD-3-Clause
"""One of several processes that train together, on the CPU with gloo; the tests compare what they write."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from helpers import GroupedPointMassEnv, PointMassEnv, collect, grpo_cfg, runner_cfg
from planned_env import PlannedEnv
from recurrent_helpers import recurrent_cfg

from gr00t_rl.utils.errors import ConfigurationError

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


def make(
    rank: int,
    num_envs: int = 4,
    actor: str = "mlp",
    log_dir: Path | None = None,
    train: dict[str, str] | None = None,
    **options: Any,
) -> Any:
    """Return an algorithm after broadcast, with what :func:`helpers.collect` wants; ranks have different data."""
    from gr00t_rl.algorithms import PPO

    env = PointMassEnv(num_envs=num_envs, seed=10 + rank)
    env.cfg.log_dir = None if log_dir is None else str(log_dir)  # type: ignore[attr-defined]
    cfg = runner_cfg(actor, **options)
    if train is not None:
        cfg["actor"]["train"] = train
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


def grpo_4_1_resample(rank: int, folder: Path) -> dict[str, Any]:
    """With the rows that were learned from."""
    from gr00t_rl.algorithms import GRPO

    select, chosen = GRPO._select, []
    GRPO._select = lambda self, batch: chosen.append(select(self, batch)) or chosen[-1]
    try:
        return _grpo(rank, (4, 1), zero_std_groups="resample") | {"rows": chosen[0]}
    finally:
        GRPO._select = select


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


@contextlib.contextmanager
def bytes_sent() -> Iterator[dict[str, int]]:
    """Count the bytes of the tensors that are broadcast and reduced inside the block."""
    stock = {name: getattr(dist, name) for name in ("broadcast", "all_reduce")}
    counts = dict.fromkeys(stock, 0)

    def counting(name: str) -> Any:
        def send(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            counts[name] += tensor.numel() * tensor.element_size()
            return stock[name](tensor, *args, **kwargs)

        return send

    for name in stock:
        setattr(dist, name, counting(name))
    try:
        yield counts
    finally:
        for name, function in stock.items():
            setattr(dist, name, function)


def traffic(rank: int, folder: Path, train: dict[str, str] | None = None) -> dict[str, Any]:
    """GR00T, of which the action head alone is trained; its sizes by what they are, and what is sent of it [bytes]."""
    runner = make(rank, actor="flow_sde_one", train=train, num_learning_epochs=1, num_mini_batches=1)
    alg = runner.alg

    def size(tensors: Any) -> int:
        return sum(t.numel() * t.element_size() for t in tensors)

    models = (alg.actor, alg.critic)
    moments = [b for m in models for n, b in m.named_buffers() if "normalizer" in n]
    with bytes_sent() as sent:
        alg.broadcast_parameters()
    found = {"all": size(alg.actor.parameters()), "trained": size(alg.parameters()), "moments": size(moments)}
    found["broadcast"] = sent["broadcast"]
    collect(runner)
    with bytes_sent() as sent:
        metrics = alg.update()
    return found | {"reduced": sent["all_reduce"], "steps": metrics["optimizer_steps"], "weights": weights(alg)}


def traffic_lora(rank: int, folder: Path) -> dict[str, Any]:
    """The same with adapters, which each rank begins with other numbers."""
    return traffic(rank, folder, {"dit": "lora", "projectors": "off"})


def recurrent(rank: int, folder: Path) -> dict[str, Any]:
    """Hidden states are each rank's own."""
    env = PointMassEnv(num_envs=(3, 5)[rank], seed=10 + rank)
    return _with_cfg(rank, env, recurrent_cfg(schedule="adaptive"))


def _with_cfg(rank: int, env: PointMassEnv, cfg: dict[str, Any], iterations: int = 2) -> dict[str, Any]:
    from gr00t_rl.algorithms import PPO

    cfg["multi_gpu"] = {"global_rank": rank, "local_rank": rank, "world_size": WORLD}
    torch.manual_seed(100 + rank)
    alg = PPO.construct_algorithm(env.get_observations(), env, cfg, "cpu")  # type: ignore[arg-type]
    alg.broadcast_parameters()
    before = weights(alg)
    for _ in range(iterations):
        collect(SimpleNamespace(alg=alg, env=env, cfg=cfg))
        metrics = alg.update()
    assert alg.memory is not None
    states = [part.clone() for parts in alg.memory.state_dict().values() for part in parts]
    return {"before": before, "weights": weights(alg), "states": states, "kl": metrics["final_kl"]}


def grpo_reference(rank: int, folder: Path) -> dict[str, Any]:
    """Ranks start with other weights, so that their references differ until rank 0's is sent."""
    from gr00t_rl.algorithms import GRPO

    env = GroupedPointMassEnv(num_envs=8, seed=10 + rank)
    cfg = grpo_cfg(num_steps=5, kl_coef=0.1)
    cfg["multi_gpu"] = {"global_rank": rank, "local_rank": rank, "world_size": WORLD}
    torch.manual_seed(100 + rank)
    alg = GRPO.construct_algorithm(env.get_observations(), env, cfg, "cpu")  # type: ignore[arg-type]
    assert alg.reference is not None
    before = {name: t.clone() for name, t in alg.reference.state_dict().items()}
    alg.broadcast_parameters()
    return {"before": before, "after": {name: t.clone() for name, t in alg.reference.state_dict().items()}}


def rescued(rank: int, folder: Path) -> dict[str, Any]:
    """Rank 0 is slow to write; nobody goes on before the file is there."""
    from gr00t_rl.algorithms import resume

    runner = make(rank, log_dir=folder / "rescued")
    write = resume.write_checkpoint

    def slowly(*args: Any) -> Any:
        time.sleep(0.3)
        return write(*args)

    resume.write_checkpoint = slowly
    try:
        line = runner.alg.rescue()
    finally:
        resume.write_checkpoint = write
    return {"line": line, "there": (folder / "rescued" / "model_0.pt").is_file()}


def stopped(rank: int, folder: Path) -> dict[str, Any]:
    """Rank 1 alone is asked to stop, in the middle of a rollout whose every step is a collective call."""
    from gr00t_rl.utils.stop import Stopped, StopRequest

    runner = make(rank, log_dir=folder / "stopped", reward_scaling=True)
    alg = runner.alg
    alg.stop = StopRequest()
    act, steps = alg.act, 0

    def act_and_ask(obs: Any) -> torch.Tensor:
        nonlocal steps
        steps += 1
        alg.stop.asked = rank == 1 and steps >= 10
        return act(obs)

    alg.act = act_and_ask
    line = ""
    try:
        for _ in range(3):
            before = weights(alg)
            collect(runner)
            alg.update()
    except Stopped as stop:
        line = f"{stop.code} {stop.message}"
    return {"line": line, "steps": steps, "moved": not torch.equal(before, weights(alg)), "weights": weights(alg)}


def resumed(rank: int, folder: Path) -> dict[str, Any]:
    """Both go on from the file of one process, learn, and rank 0 writes one for one process."""
    runner = make(rank, num_envs=3, reward_scaling=True)
    alg = runner.alg
    content = torch.load(folder / "one.pt", weights_only=True)
    alg.load(content, None, True)
    numbers = [torch.rand(1).item(), random.random(), float(np.random.rand())]
    found = {"loaded": weights(alg), "iteration": alg.iteration, "numbers": numbers}
    found["count"] = alg.reward_scaler.moments.count.clone()
    alg.broadcast_parameters()
    collect(runner)
    alg.update()
    if rank == 0:
        torch.save(alg.save(), folder / "two.pt")
        found["drawn next"] = torch.rand(3)
    return found | {"weights": weights(alg), "all": alg.reward_scaler.moments.count.clone()}


def other_starts(rank: int, folder: Path) -> dict[str, str]:
    """Ranks of which all, or only rank 0, go on from the file of one process; or only rank 0 has its moments."""
    from rsl_rl.runners import OnPolicyRunner

    content = torch.load(folder / "one.pt", weights_only=True)
    found = {}
    for who in ("all", "rank 0", "moments"):
        runner = make(rank, reward_scaling=True)
        vars(runner).update(device="cpu", is_distributed=True, gpu_global_rank=rank)
        runner.logger = SimpleNamespace(init_logging_writer=lambda: None, writer=None)
        if who == "all" or rank == 0:
            runner.alg.load(content, {"optimizer": True} if who == "moments" else None, True)
        try:
            OnPolicyRunner.learn(runner, 3 if who == "rank 0" and rank else 0)  # type: ignore[arg-type]
            found[who] = "begun"
        except ConfigurationError as error:
            found[who] = str(error)
    return found


def evaluated(rank: int, folder: Path) -> dict[str, Any]:
    """Three iterations with an evaluation each: 1 of 4 envs of rank 0 succeeds, 3 of rank 1; rank 1 breaks one off."""
    from gr00t_rl.algorithms import PPO

    env = PlannedEnv((1, 1, 1) if rank == 0 else (3, 3, 3), seed=10 + rank)
    cfg = runner_cfg() | {"evaluation_interval": 1}
    cfg["multi_gpu"] = {"global_rank": rank, "local_rank": rank, "world_size": WORLD}
    torch.manual_seed(100 + rank)
    alg = PPO.construct_algorithm(env.get_observations(), env, cfg, "cpu")  # type: ignore[arg-type]
    alg.broadcast_parameters()
    runner = SimpleNamespace(alg=alg, env=env, cfg=cfg)
    metrics = []
    with alg.evaluator.training(3, lambda: None):
        for asked in (False, rank == 1, False):
            alg.stop = None
            collect(runner)
            alg.stop = SimpleNamespace(asked=asked)  # type: ignore[assignment]
            metrics.append(alg.update())
    return {
        "metrics": metrics,
        "weights": weights(alg),
        "starts": torch.stack(env.starts),
        "best": alg.evaluator.state(),
    }


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
        grpo_4_1_resample,
        grpo_many_steps,
        tally,
        traffic,
        traffic_lora,
        recurrent,
        grpo_reference,
        rescued,
        stopped,
        resumed,
        other_starts,
        evaluated,
    )
}
