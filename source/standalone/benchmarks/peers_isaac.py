# SPDX-License-Identifier: BSD-3-Clause
"""Train an Isaac Lab task with our PPO and with rsl_rl's own, and record return and success per iteration.

    python source/standalone/benchmarks/peers_isaac.py --out docs/results/peers.json --seeds 1 2 3 --iterations 40

``ours`` is the task's `rsl_rl_mlp_cfg_entry_point`; ``rsl_rl`` has the settings that Isaac Lab ships for its own
Franka reach task, on the same observation groups. Both run through Isaac Lab's own ``train``, with the same env, number
of envs and steps per iteration. Each run is added to the study file ``--out`` as ``<task>_<library>_seed<seed>``; runs
that are in it are not made again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from isaaclab.utils import configclass
from isaaclab_rl.rsl_rl import RslRlMLPModelCfg, RslRlOnPolicyRunnerCfg, RslRlPpoAlgorithmCfg
from records import add_run, read_study

from gr00t_rl.utils.event_files import read_curves

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
    """Train once in a process of its own and add the curve to the study, unless it is there."""
    name = f"{args.task}_{library}_seed{seed}"
    if name in read_study(args.out):
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
        curve = curve_of(events.parent, args.num_envs)
    content = {"task": args.task, "library": library, "seed": seed, "options": argv, **curve}
    add_run(args.out, name, content)
    last = {metric: round(float(np.nanmean(curve[metric][-5:])), 3) for metric in TAGS}
    print(f"{name}: mean of the last 5 iterations {last}", flush=True)


def curve_of(folder: Path, num_envs: int) -> dict[str, list[float]]:
    """Return env steps and the metrics of each iteration of a run."""
    curves = read_curves(folder, TAGS)
    steps = StockRunnerCfg().num_steps_per_env * num_envs  # exact, unlike those that follow from the speed
    env_steps = (steps * (curves.iterations + 1)).tolist()
    return {"env_steps": env_steps, **{name: values.round(4).tolist() for name, values in curves.values.items()}}


def main() -> None:
    """Run what the command line asks for, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="Gr00t-Reach-Franka")
    parser.add_argument("--libraries", nargs="+", default=list(AGENTS), choices=list(AGENTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--num-envs", type=int, default=128)
    parser.add_argument("--out", type=Path, required=True, help="study file, such as docs/results/peers.json")
    args = parser.parse_args()
    for seed in args.seeds:
        for library in args.libraries:
            run(library, seed, args)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        sys.exit(work(sys.argv[2:]))
    main()
