# SPDX-License-Identifier: BSD-3-Clause
"""Clone a flow policy from demonstrations, then fine-tune it with our PPO through rsl_rl's own runner.

    python source/standalone/benchmarks/flow_finetune.py --env point_mass --head flow_noise --seed 1 --out flow.json
    python source/standalone/benchmarks/flow_finetune.py --env Hopper-v5 --head flow_noise --seed 1 --out flow.json
    python source/standalone/benchmarks/flow_finetune.py --out flow.json --plot flow_finetune.png

Demonstrations of the point mass come from a PD controller that heads for one of the two nearest goals at random, those
of a Gymnasium env from a Gaussian MLP that our PPO trains to a medium level first. A run is added to the study file
``--out`` as ``<env>_<head>_seed<N>``: settings, returns before and after, and a series per column of the iterations.
The folder of the same name (``flow/`` for ``flow.json``) keeps demonstrations and cloned policy, which serve all heads
of a seed. Any env but the point mass needs ``gymnasium[mujoco]``, the extra ``benchmarks``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from demonstrations import (
    GROUPS,
    Demonstrations,
    ReturnTracker,
    clone,
    evaluate,
    freeze_normalizer,
    make_env,
    record,
    train_expert,
)
from records import add_run, read_study
from rsl_rl.runners import OnPolicyRunner

from gr00t_rl.models import FlowMlpActor

HEADS: dict[str, dict[str, Any]] = {
    "flow_sde": {"head": "flow_sde", "noise_level": 0.5, "stochastic_steps": "one"},
    # ReinFlow's published bounds for Hopper
    "flow_noise": {"head": "flow_noise", "sigma_min": 0.1, "sigma_max": 0.24},
    "gaussian": {"head": "gaussian", "init_std": 0.2},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "point_mass": {
        "num_envs": 128,
        "num_steps_per_env": 40,
        "iterations": 50,
        "gamma": 0.99,
        "demo_envs": 60,
        "demo_steps": 40,
        "demo_noise": 0.3,
        "clone_steps": 5000,
        "hidden_dims": [128, 128, 128],
        "eval_episodes": 256,
        "eval_every": 5,
    },
    "Hopper-v5": {
        "num_envs": 16,
        "num_steps_per_env": 512,
        "iterations": 100,
        "gamma": 0.995,
        "expert_return": 1000.0,
        "expert_iterations": 200,
        "demo_envs": 16,
        "demo_steps": 2000,
        "demo_noise": 0.2,
        "clone_steps": 6000,
        "hidden_dims": [256, 256, 256],
        "eval_episodes": 16,
        "eval_every": 5,
    },
}
COLUMNS = (
    "iteration",
    "env_steps",
    "seconds",
    "rollout_return",
    "eval_return",
    "eval_std",
    "approx_kl",
    "clipfrac",
    "explained_variance",
    "learning_rate",
    "noise_std",
)


def build_parser() -> argparse.ArgumentParser:
    """Options: what to run, where to write, how long."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--env", choices=SETTINGS, default="point_mass")
    parser.add_argument("--head", choices=HEADS, default="flow_noise")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="study file, such as docs/results/flow_finetune.json")
    parser.add_argument("--iterations", type=int, help="PPO iterations (0: demonstrations and cloning only)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end the fine-tuning after this time")
    parser.add_argument("--log-prob-over", choices=("executed", "chain"), default="executed")
    parser.add_argument("--plot", type=Path, help="draw the records in --out to this file instead of running")
    return parser


def runner_cfg(settings: dict[str, Any], head: str, log_prob_over: str) -> dict[str, Any]:
    """Return the configuration of rsl_rl's runner for a chunk of four actions and four denoising steps."""
    actor = {
        "class_name": "FlowMlpActor",
        "hidden_dims": settings["hidden_dims"],
        "activation": "elu",
        "action_horizon": 4,
        "n_action_steps": 4,
        "num_inference_timesteps": 4,
        "log_prob_over": log_prob_over,
        **HEADS[head],
    }
    critic = {
        "class_name": "OrthogonalMLPModel",
        "hidden_dims": [256, 256],
        "activation": "tanh",
        "obs_normalization": True,
    }
    algorithm = {
        "class_name": "gr00t_rl.algorithms:PPO",
        "num_learning_epochs": 10,
        "num_mini_batches": 4,
        "gamma": settings["gamma"],
        "learning_rate": 3e-4,
        "critic_learning_rate": 1e-3,
        "schedule": "adaptive",
        "desired_kl": 0.1,
        "target_kl": 1.0,
        "num_critic_warmup_iterations": 3,
        "reward_scaling": True,
        "max_grad_norm": 1.0,
    }
    return {
        "num_steps_per_env": settings["num_steps_per_env"],
        "max_iterations": settings["iterations"],
        "save_interval": 1_000_000,
        "obs_groups": GROUPS,
        "actor": actor,
        "critic": critic,
        "algorithm": algorithm,
    }


def demonstrations_of(env: str, settings: dict[str, Any], seed: int, file: Path) -> tuple[Demonstrations, dict]:
    """Load the demonstrations of ``file``, or make them; with what is known of their making."""
    if not file.exists():
        about: dict[str, Any] = {}
        expert = None
        if "expert_return" in settings:
            expert, about = train_expert(env, settings["expert_return"], settings["expert_iterations"], seed)
            about["expert"] = evaluate(expert, env, settings["eval_episodes"], seed + 1000)
        demo_env = make_env(env, settings["demo_envs"], seed + 2000)
        demos = record(demo_env, expert, settings["demo_steps"], settings["demo_noise"], seed)
        about["demo_steps"], about["demo_episodes"] = demos.dones.numel(), len(demos.returns)
        about["demo_return"] = sum(demos.returns) / max(1, len(demos.returns))
        torch.save({"about": about, **demos._asdict()}, file)
    content = torch.load(file, weights_only=True)
    about = content.pop("about")
    return Demonstrations(**content), about


def base_policy(actor: FlowMlpActor, env: str, settings: dict[str, Any], seed: int, folder: Path) -> dict[str, Any]:
    """Load the seed's cloned policy into ``actor``, or make it, and return what is known of its making."""
    file = folder / f"{env}_base_seed{seed}.pt"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        demos, about = demonstrations_of(env, settings, seed, folder / f"{env}_demos_seed{seed}.pt")
        torch.manual_seed(seed)
        about["clone_loss"] = clone(actor, demos, settings["clone_steps"])
        # the head is not part of it: one cloned policy serves them all
        weights = {name: value for name, value in actor.state_dict().items() if not name.startswith("head.")}
        torch.save({"about": about, "weights": weights}, file)
    content = torch.load(file, weights_only=True)
    missing, unexpected = actor.load_state_dict(content["weights"], strict=False)
    if unexpected or any(not name.startswith("head.") for name in missing):
        raise SystemExit(f"error: {file} was made with other settings; remove it")
    freeze_normalizer(actor)
    return content["about"]


def finetune(args: argparse.Namespace) -> dict[str, Any]:
    """Run one fine-tuning and return its record."""
    settings = SETTINGS[args.env]
    iterations = settings["iterations"] if args.iterations is None else args.iterations
    cfg = runner_cfg({**settings, "iterations": max(1, iterations)}, args.head, args.log_prob_over)
    kept = json.loads(json.dumps(cfg))  # the runner takes its own copy apart
    torch.manual_seed(args.seed)
    env = make_env(args.env, settings["num_envs"], args.seed)
    runner = OnPolicyRunner(env, cfg, None, "cpu")
    actor: Any = runner.alg.get_policy()
    base = base_policy(actor, args.env, settings, args.seed, args.out.with_suffix(""))

    def judge(episodes: int, scale: float) -> dict[str, Any]:
        return evaluate(actor, args.env, episodes, args.seed + 3000, scale)

    episodes = 2 * settings["eval_episodes"]
    before = {f"init_noise_{scale}": judge(episodes, float(scale)) for scale in (1, 0)}
    print(f"{args.env} {args.head} seed {args.seed}: {base}\nbefore: {before}", flush=True)
    rows = learn(runner, args, iterations, settings, judge)
    after = {f"init_noise_{scale}": judge(episodes, float(scale)) for scale in (1, 0)}
    print(f"after:  {after}", flush=True)
    return {
        "env": args.env,
        "head": args.head,
        "seed": args.seed,
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, CPU, {torch.get_num_threads()} thread",
        "settings": settings,
        "runner": kept,
        "base": base,
        "before": before,
        "after": after,
        "iterations": {key: [row.get(key) for row in rows] for key in COLUMNS},
    }


def learn(
    runner: OnPolicyRunner, args: argparse.Namespace, iterations: int, settings: dict[str, Any], judge: Any
) -> list[dict[str, Any]]:
    """Run the iterations; one row each, with an evaluation every ``eval_every``; their time does not count."""
    tracker, actor, rows = ReturnTracker(runner.env), runner.alg.get_policy(), []  # type: ignore[arg-type]
    metrics: dict[str, float] = {}
    update = runner.alg.update

    def noting() -> dict[str, float]:
        metrics.clear()
        metrics.update(found := update())
        return found

    runner.alg.update = noting  # type: ignore[method-assign]
    seconds = 0.0
    steps = settings["num_envs"] * settings["num_steps_per_env"]
    while len(rows) < iterations and seconds < 60.0 * args.minutes:
        start = time.perf_counter()
        runner.learn(1)
        seconds += time.perf_counter() - start
        row: dict[str, Any] = {"iteration": len(rows) + 1, "env_steps": (len(rows) + 1) * steps}
        row |= {"seconds": round(seconds, 1), "rollout_return": tracker.drain()}
        if row["iteration"] % settings["eval_every"] == 0:
            found = judge(settings["eval_episodes"], 1.0)
            row |= {"eval_return": found["return"], "eval_std": found["std"]}
        row |= {key: metrics.get(key) for key in ("approx_kl", "clipfrac", "explained_variance")}
        row |= {"learning_rate": runner.alg.learning_rate, "noise_std": actor.output_std.mean().item()}
        rows.append({key: round(v, 6) if isinstance(v, float) else v for key, v in row.items()})
        if "eval_return" in row:
            print({key: row[key] for key in COLUMNS[:5]}, flush=True)
    return rows


def plot(out: Path, image: Path) -> None:
    """Draw the evaluated return of all runs of the study ``out`` over env steps, one panel per env."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    records = list(read_study(out).values())
    if not records:
        raise SystemExit(f"error: {out} holds no runs; run --env and --head with this --out first")
    envs = sorted({r["env"] for r in records}, key=list(SETTINGS).index)
    figure, axes = plt.subplots(1, len(envs), figsize=(6 * len(envs), 4), squeeze=False)
    for axis, env in zip(axes[0], envs, strict=True):
        mine = [r for r in records if r["env"] == env]
        for r in mine:
            steps, returns = (r["iterations"][key] for key in ("env_steps", "eval_return"))
            judged = [i for i, value in enumerate(returns) if not math.isnan(value)]
            x = [0.0, *(steps[i] / 1e3 for i in judged)]
            y = [r["before"]["init_noise_1"]["return"], *(returns[i] for i in judged)]
            color = f"C{list(HEADS).index(r['head'])}"
            first = r["seed"] == min(other["seed"] for other in mine if other["head"] == r["head"])
            axis.plot(x, y, color=color, label=r["head"] if first else None)
        cloned = {r["seed"]: r["before"]["init_noise_1"]["return"] for r in mine}
        axis.axhline(sum(cloned.values()) / len(cloned), color="grey", linestyle=":", label="cloned")
        demos = {r["seed"]: r["base"]["demo_return"] for r in mine}
        axis.axhline(sum(demos.values()) / len(demos), color="black", linestyle="--", label="demonstrations")
        axis.set(title=env, xlabel="env steps of fine-tuning / 1000", ylabel="return, no exploration noise")
        axis.legend()
    figure.tight_layout()
    image.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(image, dpi=100)


def main(argv: Sequence[str] | None = None) -> None:
    """Run or draw."""
    args = build_parser().parse_args(argv)
    if args.plot is not None:
        plot(args.out, args.plot)
        return
    read_study(args.out)  # refuses a file that is none before the work, not after it
    add_run(args.out, f"{args.env}_{args.head}_seed{args.seed}", finetune(args))


if __name__ == "__main__":
    main()
