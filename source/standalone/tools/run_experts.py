# SPDX-License-Identifier: BSD-3-Clause
"""Measure the scripted experts: success and time over episodes with randomised starts, for each physics preset.

    python source/standalone/tools/run_experts.py --num_episodes 512 --json experts.json
    python source/standalone/tools/run_experts.py --task Gr00t-Stack-Cube-Franka --physics ovphysx --num_episodes 64
    python source/standalone/tools/run_experts.py --task Gr00t-Push-Cube-Franka env.sim.dt=0.01 env.decimation=5

Every env plays the same number of whole episodes, so that quick successes do not count more often than slow failures.
Each (task, physics) pair runs in a process of its own, one after the other: Isaac Lab has one simulation per process.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gr00t_rl.utils.whole_files import write_whole

TASKS = [
    "Gr00t-Reach-Franka",
    "Gr00t-Push-Cube-Franka",
    "Gr00t-Pick-Place-Cube-Franka",
    "Gr00t-Stack-Cube-Franka",
    "Gr00t-Tabletop-Cubes-Franka",
]
PHYSICS = ("newton_mjwarp", "ovphysx", "physx")


def measure(
    task: str, physics: str, num_envs: int, rounds: int, seed: int, noise: float, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Play ``rounds`` episodes in each of ``num_envs`` envs and return what happened, ready for JSON.

    Keys: ``success_rate``, ``num_episodes``, ``time_to_success_s`` (median and 95th percentile, None without a
    success), ``failures`` (episodes that another termination ended), ``time_outs``, ``env_steps_per_s``, and
    ``env_steps_per_cpu_s``, by the process's own CPU time; where the instruction is the task, ``by_instruction`` with
    the first three of them by its name.
    """
    import gymnasium as gym
    import torch
    from isaaclab.app import launch_simulation
    from isaaclab_tasks.utils.hydra import resolve_task_config

    import gr00t_rl.tasks  # noqa: F401
    from gr00t_rl.tasks.experts import make_expert
    from gr00t_rl.utils.instructions import task_names

    chosen = [f"physics={physics}", f"env.scene.num_envs={num_envs}", *overrides]
    cfg: Any = resolve_task_config(task, None, overrides=chosen)[0]
    cfg.sim.device, cfg.seed = "cpu", seed
    torch.set_num_threads(1)
    with launch_simulation(cfg, argparse.Namespace(device="cpu", headless=True)):
        env: Any = gym.make(task, cfg=cfg).unwrapped
        env.reset()
        expert = make_expert(task, env, noise=noise)
        # Cameras, where the task has any, have nobody who looks.
        env.decision_due = torch.zeros(num_envs, dtype=torch.bool, device=env.device)
        finished = torch.zeros(num_envs, dtype=torch.long, device=env.device)
        outcomes, lengths, numbers, steps = [], [], [], 0
        began, cpu_began = time.perf_counter(), time.process_time()
        while finished.min() < rounds:
            length = env.episode_length_buf + 1
            _, _, terminated, timed_out, extras = env.step(expert())
            done = terminated | timed_out
            expert.reset(done)
            counted = done & (finished < rounds)
            outcomes.append(torch.stack((extras["success"], terminated, timed_out), -1)[counted])
            lengths.append(length[counted])
            numbers.append(extras.get("instruction", torch.zeros_like(length))[counted])
            finished += done
            steps += num_envs
        elapsed, cpu_elapsed = time.perf_counter() - began, time.process_time() - cpu_began
        success, terminated, timed_out = torch.cat(outcomes).unbind(-1)
        seconds, number = torch.cat(lengths).float() * env.step_dt, torch.cat(numbers)
        parts = {name: number == place for place, name in enumerate(task_names(cfg))}
        return {
            "task": task,
            "physics": physics,
            "num_envs": num_envs,
            "seed": seed,
            "noise": noise,
            "overrides": list(overrides),
            **successes(success, seconds),
            "failures": int((terminated & ~success).sum()),
            "time_outs": int((timed_out & ~success).sum()),
            "env_steps_per_s": steps / elapsed,
            "env_steps_per_cpu_s": steps / cpu_elapsed,
            "by_instruction": {
                name: successes(success[part], seconds[part]) for name, part in parts.items() if part.any()
            },
        }


def successes(success: Any, seconds: Any) -> dict[str, Any]:
    """Number, success rate and time to success of episodes, from two tensors [N]."""
    times = seconds[success]
    quantiles = [times.quantile(share).item() if len(times) else None for share in (0.5, 0.95)]
    return {
        "num_episodes": len(success),
        "success_rate": success.float().mean().item(),
        "time_to_success_s": dict(zip(("median", "p95"), quantiles, strict=True)),
    }


def line(result: dict[str, Any]) -> str:
    """One result for the terminal."""
    parts = [f"\n  {name:28} {_in_words(part)}" for name, part in result["by_instruction"].items()]
    return (
        f"{result['task']:30} {result['physics']:14} {_in_words(result)}; "
        f"{result['failures']} failures, {result['time_outs']} time-outs; "
        f"{result['env_steps_per_s']:,.0f} env steps/s, {result['env_steps_per_cpu_s']:,.0f} per CPU second"
        + "".join(parts)
    )


def _in_words(part: dict[str, Any]) -> str:
    """What :func:`successes` found."""
    median, p95 = part["time_to_success_s"].values()
    times = "no success" if median is None else f"median {median:.2f} s, 95 % within {p95:.2f} s"
    return f"{part['success_rate']:6.1%} of {part['num_episodes']} episodes, {times}"


def write_results(path: Path, results: list[dict[str, Any]]) -> None:
    """Write the results as JSON, whole or not at all."""
    write_whole(path, (json.dumps(results, indent=1) + "\n").encode())


def run_in_process(args: argparse.Namespace, task: str, physics: str) -> dict[str, Any]:
    """Result of one (task, physics) pair from a process of its own; its log goes to standard error if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, __file__, "--task", task, "--physics", physics, "--json", str(out), "--worker"]
        for name in ("num_envs", "num_episodes", "seed", "noise"):
            command += [f"--{name}", str(getattr(args, name))]
        command += args.overrides
        done = subprocess.run(command, capture_output=True, text=True)
        if not out.is_file():
            sys.stderr.write(done.stdout[-3000:] + done.stderr[-6000:])
            sys.exit(f"error: {task} with physics={physics} did not finish (exit status {done.returncode}); see above")
        return json.loads(out.read_text())[0]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="+", default=TASKS, help="gym IDs; all state tasks where not given")
    parser.add_argument("--physics", nargs="+", default=["newton_mjwarp"], choices=PHYSICS)
    parser.add_argument("--num_episodes", type=int, default=512, help="rounded up to a multiple of --num_envs")
    parser.add_argument("--num_envs", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noise", type=float, default=0.0, help="noise of the motion, in action units")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args, args.overrides = parser.parse_known_args()
    if strange := [word for word in args.overrides if not word.startswith("env.")]:
        parser.error(f"{strange[0]} is no option; Hydra overrides begin with env.")
    unknown = [task for task in args.task if not task.startswith(tuple(TASKS))]
    if unknown:
        parser.error(
            f"no expert for {', '.join(unknown)}; set --task to one of {', '.join(TASKS)} or its -Camera variant"
        )
    if min(args.num_envs, args.num_episodes) < 1 or args.noise < 0:
        parser.error("--num_envs and --num_episodes must be at least 1 and --noise at least 0")
    if args.json and not args.json.parent.is_dir():
        parser.error(f"--json {args.json}: its folder does not exist")
    return args


def main() -> None:
    args = parse()
    if args.worker:
        rounds = math.ceil(args.num_episodes / args.num_envs)
        result = measure(args.task[0], args.physics[0], args.num_envs, rounds, args.seed, args.noise, args.overrides)
        write_results(args.json, [result])
        os._exit(0)  # an orderly shutdown of the simulation takes longer than a short run
    results = []
    for physics in args.physics:
        for task in args.task:
            results.append(run_in_process(args, task, physics))
            print(line(results[-1]), flush=True)
    if args.json:
        write_results(args.json, results)


if __name__ == "__main__":
    main()
