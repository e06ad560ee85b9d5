# SPDX-License-Identifier: BSD-3-Clause
"""Train an Isaac Lab task with our PPO and with rsl_rl's own, and record return and success per iteration.

    python source/standalone/benchmarks/peers_isaac.py --out docs/results/peers --seeds 1 2 3 --iterations 40

``ours`` is the task's `rsl_rl_mlp_cfg_entry_point`; ``rsl_rl`` has the settings that Isaac Lab ships for its own
Franka reach task, on the same observation groups. Both run through Isaac Lab's own ``train``, with the same env, number
of envs and steps per iteration. Each run writes ``OUT/<task>_<library>_seed<seed>.json``; existing files are not made
again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from isaaclab.utils import configclass
from isaaclab_rl.rsl_rl import RslRlMLPModelCfg, RslRlOnPolicyRunnerCfg, RslRlPpoAlgorithmCfg

AGENTS = {"ours": "rsl_rl_mlp_cfg_entry_point", "rsl_rl": "rsl_rl_stock_cfg_entry_point"}
TAGS = {"return": "Train/mean_reward", "success_rate": "charts/success_rate"}


@configclass
class StockRunnerCfg(RslRlOnPolicyRunnerCfg):
    """rsl_rl's own PPO with the numbers of Isaac Lab's ``FrankaReachPPORunnerCfg``."""

    device: str = "cpu"
    num_steps_per_env: int = 24
    max_iterations: int = 100
    save_interval: int = 1000
    experiment_name: str = "stock_rsl_rl"
    init_at_random_ep_len: bool = False
    obs_groups: dict[str, list[str]] = {"actor": ["policy"], "critic": ["critic"]}
    actor: RslRlMLPModelCfg = RslRlMLPModelCfg(
        hidden_dims=[64, 64],
        activation="elu",
        obs_normalization=False,
        distribution_cfg=RslRlMLPModelCfg.GaussianDistributionCfg(init_std=1.0),
        stochastic=True,
    )
    critic: RslRlMLPModelCfg = RslRlMLPModelCfg(
        hidden_dims=[64, 64], activation="elu", obs_normalization=False, stochastic=False
    )
    algorithm: RslRlPpoAlgorithmCfg = RslRlPpoAlgorithmCfg(
        value_loss_coef=1.0,
        use_clipped_value_loss=True,
        clip_param=0.2,
        entropy_coef=0.01,
        num_learning_epochs=8,
        num_mini_batches=4,
        learning_rate=1.0e-3,
        schedule="adaptive",
        gamma=0.99,
        lam=0.95,
        desired_kl=0.01,
        max_grad_norm=1.0,
    )


def work(argv: list[str]) -> int:
    """Run Isaac Lab's ``train`` in this process, after adding the stock agent to the task's registration."""
    import gymnasium as gym
    from isaaclab.cli import load_external_tasks
    from isaaclab_rl.entrypoints import run_train_cli

    load_external_tasks()
    task = argv[argv.index("--task") + 1]
    gym.spec(task).kwargs[AGENTS["rsl_rl"]] = f"{Path(__file__).stem}:StockRunnerCfg"
    return run_train_cli(["--rl_library", "rsl_rl", *argv])


def run(library: str, seed: int, args: argparse.Namespace) -> None:
    """Train once in a process of its own and write the curve, unless the file exists."""
    file = args.out / f"{args.task}_{library}_seed{seed}.json"
    if file.exists():
        return
    options = {
        "--task": args.task,
        "--agent": AGENTS[library],
        "--device": "cpu",
        "--seed": seed,
        "--num_envs": args.num_envs,
        "--max_iterations": args.iterations,
    }
    argv = [str(part) for option in options.items() for part in option]
    with tempfile.TemporaryDirectory() as folder:
        with open(Path(folder) / "log.txt", "w") as log:
            command = [sys.executable, str(Path(__file__).resolve()), "--work", *argv]
            result = subprocess.run(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        events = next(Path(folder).rglob("events.out.tfevents*"), None)
        if result.returncode != 0 or events is None:
            raise SystemExit(f"{library}, seed {seed} failed:\n{(Path(folder) / 'log.txt').read_text()[-3000:]}")
        curve = read_curve(events.parent, args.num_envs)
    content = {"task": args.task, "library": library, "seed": seed, "options": argv, **curve}
    file.write_text(json.dumps(content) + "\n")
    last = {name: round(float(np.nanmean(curve[name][-5:])), 3) for name in TAGS}
    print(f"{file.name}: mean of the last 5 iterations {last}", flush=True)


def read_curve(folder: Path, num_envs: int) -> dict[str, list[float]]:
    """Return env steps and the metrics of each iteration from a run's event file."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    scalars = {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
    iterations = sorted(scalars["Perf/collection_time"])
    steps = StockRunnerCfg().num_steps_per_env * num_envs
    curve: dict[str, list[float]] = {"env_steps": [steps * (i + 1) for i in iterations]}
    for name, tag in TAGS.items():
        curve[name] = [round(scalars.get(tag, {}).get(i, float("nan")), 4) for i in iterations]
    return curve


def main() -> None:
    """Run what the command line asks for, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="Gr00t-Reach-Franka")
    parser.add_argument("--libraries", nargs="+", default=list(AGENTS), choices=list(AGENTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--num-envs", type=int, default=128)
    parser.add_argument("--out", type=Path, required=True, help="folder of the curves")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        for library in args.libraries:
            run(library, seed, args)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        sys.exit(work(sys.argv[2:]))
    main()
