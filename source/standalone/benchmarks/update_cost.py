# SPDX-License-Identifier: BSD-3-Clause
"""Time our PPO's learning against rsl_rl's own PPO on the same networks, data sizes, epochs and minibatches.

    python source/standalone/benchmarks/update_cost.py --out docs/results/update_cost.json

Both algorithms are built by the unmodified ``OnPolicyRunner`` from the same configuration but for the algorithm's
class, and learn from rollouts of the same synthetic env. A repetition times both, in an order that alternates; what
counts is the median over repetitions of the ratio ours / stock. Two spans are timed: ``update()``, and ``learn`` =
``compute_returns()`` + ``update()``, since the two libraries divide the work between them differently. Processor time
is compared beside wall time: other jobs on the machine disturb it less. The figures are added to the study file
``--out``, named after the settings.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch
from records import add_run
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict

OURS, STOCK = "gr00t_rl.algorithms:PPO", "PPO"


class NoiseEnv:
    """A VecEnv of random numbers: observations, rewards, and an episode end every 50 steps or so."""

    max_episode_length = 1000
    device = "cpu"
    cfg: dict[str, Any] = {}

    def __init__(self, num_envs: int, obs_dim: int = 48, num_actions: int = 12) -> None:
        self.num_envs, self.num_actions, self.obs_dim = num_envs, num_actions, obs_dim
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.long)
        self.unwrapped = self

    def get_observations(self) -> TensorDict:
        """Return random observations."""
        policy, critic = torch.randn(self.num_envs, self.obs_dim), torch.randn(self.num_envs, self.obs_dim + 16)
        return TensorDict({"policy": policy, "critic": critic}, [self.num_envs])

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Ignore the actions."""
        dones = (torch.rand(self.num_envs) < 0.02).long()
        return self.get_observations(), torch.randn(self.num_envs), dones, {}


def make_runner(algorithm: str, num_envs: int, args: argparse.Namespace) -> OnPolicyRunner:
    """Return a runner of one algorithm; everything else is the same for both."""
    model = {
        "class_name": "MLPModel",
        "hidden_dims": args.hidden_dims,
        "activation": "elu",
        "obs_normalization": True,
    }
    distribution = {"class_name": "GaussianDistribution", "init_std": 1.0, "std_type": "log"}
    cfg = {
        "num_steps_per_env": args.steps,
        "max_iterations": 10_000,
        "save_interval": 10_000,
        "obs_groups": {"actor": ["policy"], "critic": ["critic"]},
        "actor": {**model, "distribution_cfg": distribution},
        "critic": dict(model),
        "algorithm": {
            "class_name": algorithm,
            "num_learning_epochs": args.epochs,
            "num_mini_batches": args.mini_batches,
            "use_clipped_value_loss": True,
            "schedule": args.schedule,
            "learning_rate": 1e-4,
        },
    }
    torch.manual_seed(0)
    return OnPolicyRunner(NoiseEnv(num_envs), cfg, None, "cpu")  # type: ignore[arg-type]


def collect(runner: OnPolicyRunner) -> TensorDict:
    """Run one iteration's rollout and return the observation it ended at."""
    runner.alg.train_mode()
    obs = runner.env.get_observations()
    with torch.inference_mode():
        for _ in range(runner.cfg["num_steps_per_env"]):
            obs, rewards, dones, extras = runner.env.step(runner.alg.act(obs))
            runner.alg.process_env_step(obs, rewards, dones, extras)
    return obs


def learn_seconds(runner: OnPolicyRunner) -> dict[str, float]:
    """Collect, then time what the runner does with the rollout: wall and processor seconds of each span."""
    obs = collect(runner)
    wall, cpu = [time.perf_counter()], [time.process_time()]

    def mark() -> None:
        wall.append(time.perf_counter())
        cpu.append(time.process_time())

    with torch.inference_mode():
        runner.alg.compute_returns(obs)
    mark()
    runner.alg.update()
    mark()
    return {
        "update_wall": wall[2] - wall[1],
        "update_cpu": cpu[2] - cpu[1],
        "learn_wall": wall[2] - wall[0],
        "learn_cpu": cpu[2] - cpu[0],
    }


def compare(num_envs: int, args: argparse.Namespace) -> dict[str, Any]:
    """Time both algorithms in pairs and return medians and the ratios' medians and quartiles."""
    runners = {"ours": make_runner(OURS, num_envs, args), "stock": make_runner(STOCK, num_envs, args)}
    for _ in range(2):  # lets allocators and lazily made optimiser states settle
        for runner in runners.values():
            learn_seconds(runner)
    seconds: dict[str, list[dict[str, float]]] = {"ours": [], "stock": []}
    for repetition in range(args.repetitions):
        for name in ("ours", "stock") if repetition % 2 == 0 else ("stock", "ours"):
            seconds[name].append(learn_seconds(runners[name]))
    result: dict[str, Any] = {"num_envs": num_envs, "steps": args.steps, "repetitions": args.repetitions}
    for span in seconds["ours"][0]:
        ours, stock = ([s[span] for s in seconds[name]] for name in ("ours", "stock"))
        ratios = [a / b for a, b in zip(ours, stock, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        result[span] = {
            "ours_s": round(statistics.median(ours), 4),
            "stock_s": round(statistics.median(stock), 4),
            "ratio": round(middle, 3),
            "ratio_quartiles": [round(low, 3), round(high, 3)],
        }
    return result


def name_of(args: argparse.Namespace) -> str:
    """Name of the record: what tells one setting from another."""
    envs, network = ("-".join(map(str, sizes)) for sizes in (args.num_envs, args.hidden_dims))
    return f"envs_{envs}_steps_{args.steps}_network_{network}_{args.epochs}x{args.mini_batches}_{args.schedule}"


def main() -> None:
    """Compare at each number of envs, print a table, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-envs", type=int, nargs="+", default=[512, 4096])
    parser.add_argument("--steps", type=int, default=24, help="env steps per iteration")
    parser.add_argument("--hidden-dims", type=int, nargs="+", default=[128, 128])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--mini-batches", type=int, default=4)
    parser.add_argument("--schedule", default="adaptive", choices=["adaptive", "fixed"])
    parser.add_argument("--repetitions", type=int, default=11)
    parser.add_argument("--out", type=Path, help="study file, such as docs/results/update_cost.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = [compare(num_envs, args) for num_envs in args.num_envs]
    print("| envs × steps | span | ours | stock | ratio (quartiles) |\n|---|---|---|---|---|")
    for result in results:
        for span in (key for key in result if key.endswith(("_wall", "_cpu"))):
            r = result[span]
            low, high = r["ratio_quartiles"]
            times = f"{1e3 * r['ours_s']:.0f} ms | {1e3 * r['stock_s']:.0f} ms"
            print(f"| {result['num_envs']} × {result['steps']} | {span} | {times} | {r['ratio']} ({low}–{high}) |")
    if args.out:
        settings = {k: v for k, v in vars(args).items() if k not in ("out", "num_envs")}
        content = {"date": str(date.today()), "machine": platform.machine(), "settings": settings, "results": results}
        add_run(args.out, name_of(args), content)


if __name__ == "__main__":
    main()
