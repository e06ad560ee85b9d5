# SPDX-License-Identifier: BSD-3-Clause
"""Time whole iterations of training, phase by phase: where the bottleneck is, and decisions learned per second.

    python source/standalone/benchmarks/iteration_phases.py --task Gr00t-Push-Cube-Franka-Camera --num_envs 16 \\
        --variant agent.actor.feature_cache=pixels --out docs/results/iterations.json --plot docs/images/iterations.png

The task's agent plays and learns in the simulator. Phases of an iteration, in seconds:

- ``physics``: the env steps without the pictures: physics, rewards, observations, resets
- ``render``: pictures
- ``encode``, ``denoise``, ``store``: what a decision takes, in the network and to the storage (with the critic's value)
- ``update``: all epochs over the iteration's decisions
- ``other``: the rest of the iteration's wall time: returns, normalisers, the checks of every env step

``decisions_per_s`` is the headline: decisions in the iteration's batch over its wall time, on this one device. Each
``--variant`` (overrides, comma-separated) is measured in the same process and on the same env, in turns with the
settings given: cached features against pixels that run the VLM again, or another type. ``ratio_error`` is the mean of
|ratio - 1| over the first rollout, scored again by the update's own batch shape before any weight moved. Figures are
medians over the iterations after ``--warmup``. A JSON line is appended to ``--lines`` after every iteration.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch
from records import add_run, append_line

PHASES = ("physics", "render", "encode", "denoise", "store", "update", "other")


def ratio_error(alg: Any) -> float:
    """Return the mean of |ratio - 1| over the batch, in pieces of the update's size."""
    rows = torch.arange(len(alg.batch), device=alg.device)
    with torch.no_grad():
        pieces = alg._pieces(alg.batch, rows, alg._pass_size(len(rows)))
        errors = [(alg._evaluate(alg.batch[p]).log_prob - alg.batch["log_prob"][p]).exp() - 1.0 for p in pieces]
    return torch.cat(errors).abs().mean().item()


class Timed:
    """One agent on the env, iteration by iteration.

    Args:
        name: Of the variant.
        env: As rsl_rl sees it; shared by all variants.
        agent_cfg: Of the agent.
    """

    def __init__(self, name: str, env: Any, agent_cfg: Any) -> None:
        from isaaclab_rl.rsl_rl import create_rsl_rl_runner

        self.name, self.env = name, env
        self.runner: Any = create_rsl_rl_runner(env, agent_cfg)
        self.alg: Any = self.runner.alg
        self.ratio_error: float | None = None
        self.rows: list[dict[str, float]] = []

    def iterate(self) -> dict[str, Any]:
        """Play and learn once; return the phases [s] and what follows from them."""
        alg, env, cuda = self.alg, self.env, torch.cuda.is_available() and self.env.device != "cpu"
        # the env's flags are the algorithm's, and there are several
        env.unwrapped.new_episodes_decide = not alg.policy.align_decisions
        alg.train_mode()
        obs = env.get_observations().to(alg.device)
        alg.render_timer.totals()  # those pictures belong to no iteration
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        begin = time.perf_counter()
        with torch.inference_mode():
            for _ in range(alg.num_steps):
                obs, rewards, dones, extras = env.step(alg.act(obs))
                alg.process_env_step(obs.to(alg.device), rewards.to(alg.device), dones.to(alg.device), extras)
            alg.compute_returns(obs)
        checked = 0.0
        if self.ratio_error is None:
            start = time.perf_counter()
            self.ratio_error = ratio_error(alg)
            checked = time.perf_counter() - start
        metrics = alg.update()
        if cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begin - checked
        row = {name: metrics[f"perf/{name}"] for name in ("render", "update")}
        row |= {name: metrics.get(f"perf/{name}", 0.0) for name in ("encode", "denoise", "store")}
        row["physics"] = metrics["perf/env"] - row["render"]
        row["other"] = seconds - sum(row.values())
        env_steps = alg.num_steps * env.num_envs
        row |= {
            "iteration": seconds,
            "decisions": metrics["perf/decisions"],
            "decisions_per_s": metrics["perf/decisions"] / seconds,
            "env_steps_per_s": env_steps / seconds,
            "physics_steps_per_s": env_steps / row["physics"] if row["physics"] > 0 else 0.0,
            "peak_memory_gib": _peak_gib(cuda),
            "device_memory_gib": _used_gib() if cuda else 0.0,
        }
        self.rows.append(row)
        return {"variant": self.name, "ratio_error": self.ratio_error, **{k: round(v, 5) for k, v in row.items()}}

    def summary(self, warmup: int) -> dict[str, Any]:
        """Return the medians over the iterations after the warm-up."""
        rows = self.rows[warmup:]
        medians = {name: round(statistics.median(row[name] for row in rows), 5) for name in rows[0]}
        return {"iterations": len(rows), "ratio_error": self.ratio_error, **medians}


def _peak_gib(cuda: bool) -> float:
    """Peak of torch's allocations since the iteration began, or of the process on a CPU, since it started [GiB]."""
    if cuda:
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _used_gib() -> float:
    """Memory of the device that is taken, the simulator's and the cameras' included [GiB]."""
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 2**30


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the summaries as a Markdown table: seconds, and shares of the iteration."""
    lines = [f"| settings | {' | '.join(PHASES)} | iteration | decisions/s | peak GiB |", "|---" * 11 + "|"]
    for name, r in results.items():
        cells = [f"{r[phase]:.3f} s ({100 * r[phase] / r['iteration']:.0f} %)" for phase in PHASES]
        total = f"{r['iteration']:.3f} s | {r['decisions_per_s']:.2f} | {r['peak_memory_gib']:.2f}"
        lines.append(f"| {name} | {' | '.join(cells)} | {total} |")
    return "\n".join(lines)


def plot(results: dict[str, dict[str, Any]], title: str, file: Path) -> None:
    """Draw the phases of each variant as one bar."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.5 * len(results)), layout="constrained")
    left = dict.fromkeys(results, 0.0)
    for phase in PHASES:
        widths = [r[phase] for r in results.values()]
        axes.barh(list(results), widths, left=list(left.values()), label=phase)
        left = {name: start + width for (name, start), width in zip(left.items(), widths, strict=True)}
    axes.set_xlabel("seconds of an iteration")
    axes.set_title(title, fontsize=9)
    axes.legend(ncols=len(PHASES), fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.35))
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def measure(args: argparse.Namespace, overrides: list[str]) -> dict[str, dict[str, Any]]:
    """Build the env and all variants, and run their iterations in turns; returns the summaries by variant."""
    import gymnasium as gym
    from isaaclab.app import launch_simulation
    from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper
    from isaaclab_tasks.utils.hydra import resolve_task_config

    import gr00t_rl.tasks  # noqa: F401
    from gr00t_rl.launch.agent_cfg import for_installed_rsl_rl

    given = [f"env.scene.num_envs={args.num_envs}", *overrides]
    env_cfg: Any = None
    agents: dict[str, Any] = {}
    for variant in ["", *args.variant]:
        more = [part for part in variant.split(",") if part]
        cfg, agent_cfg = resolve_task_config(args.task, args.agent, overrides=[*given, *more])
        env_cfg = cfg if env_cfg is None else env_cfg
        agent_cfg.device = args.device
        name = variant.replace("agent.actor.", "").replace("agent.algorithm.", "") or "as given"
        agents[name] = for_installed_rsl_rl(agent_cfg)
    env_cfg.sim.device, env_cfg.seed = args.device, args.seed
    with launch_simulation(env_cfg, argparse.Namespace(device=args.device, headless=True, enable_cameras=True)):
        env = RslRlVecEnvWrapper(gym.make(args.task, cfg=env_cfg), clip_actions=None)  # type: ignore[arg-type]
        timed = [Timed(name, env, agent_cfg) for name, agent_cfg in agents.items()]
        for number in range(args.warmup + args.iterations):
            for one in timed if number % 2 == 0 else timed[::-1]:
                row = {"num_envs": args.num_envs, "warmup": number < args.warmup, **one.iterate()}
                append_line(args.lines, {**args.tag, **row})
                print(f"iteration {number}, {one.name}: {row['iteration']:.2f} s", flush=True)
        results = {one.name: one.summary(args.warmup) for one in timed}
        _report(args, overrides, results)
        sys.stdout.flush()
        os._exit(0)  # an orderly shutdown of a simulation is slow


def _report(args: argparse.Namespace, overrides: list[str], results: dict[str, dict[str, Any]]) -> None:
    """Print the table; write the record and the plot where they are wanted."""
    cuda = args.device != "cpu"
    device = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    title = f"{args.task}, {args.num_envs} envs, {device}"
    print(f"\n{title}\n\n{table(results)}")
    if "as given" in results and len(results) > 1:
        base = results["as given"]
        for name, r in list(results.items())[1:]:
            update = r["update"] / r["decisions"] / (base["update"] / base["decisions"])
            print(f"{name}: update {update:.2f} x, decisions/s {r['decisions_per_s'] / base['decisions_per_s']:.2f} x")
    if args.plot:
        plot(results, title, args.plot)
    if args.out:
        content = {
            "date": str(date.today()),
            "machine": platform.machine(),
            "device": device,
            "torch": torch.__version__,
            "task": args.task,
            "agent": args.agent,
            "num_envs": args.num_envs,
            "overrides": overrides,
            "results": results,
        }
        add_run(args.out, f"{args.name or args.task}_{args.num_envs}_{torch.device(args.device).type}", content)


def main() -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="Gr00t-Push-Cube-Franka-Camera")
    parser.add_argument("--agent", default="rsl_rl_cfg_entry_point")
    parser.add_argument("--num_envs", type=int, default=16)
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--variant", action="append", default=[], help="overrides of a variant, comma-separated")
    parser.add_argument("--warmup", type=int, default=1, help="iterations of each variant that do not count")
    parser.add_argument("--iterations", type=int, default=3, help="iterations of each variant that count")
    parser.add_argument("--name", help="of the record (default: the task)")
    parser.add_argument("--out", type=Path, help="study file, such as docs/results/iterations.json")
    parser.add_argument("--lines", type=Path, help="file to which a JSON line is appended after every iteration")
    parser.add_argument("--tag", type=json.loads, default={}, help="JSON that each of those lines begins with")
    parser.add_argument("--plot", type=Path, help="picture to draw")
    args, overrides = parser.parse_known_args()
    if args.device == "cpu":
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    measure(args, overrides)


if __name__ == "__main__":
    main()
