# SPDX-License-Identifier: BSD-3-Clause
"""PPO against GRPO and RLOO with the same env steps: dense and sparse rewards, group sizes, the zero-variance filter.

    python source/standalone/benchmarks/grpo_study.py --task Gr00t-Push-Cube-Franka --policy gr00t --base DIR \
        --env_steps 2000000 --seeds 1 2 3 --out docs/results/grpo_study.json --plot docs/images/grpo_study.png

Each run goes through Isaac Lab's own ``train`` and is added to the study file ``--out`` as
``<task>_<policy>_<arm>_seed<seed>``; runs that are in it are not repeated, so that an interrupted call goes on. Printed
is one row per run: success and return over the last tenth of the env steps, and the env steps and minutes until success
first reached 80 %.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from finetune_lift import WARM_UP
from learning_curves import curve_of
from records import Record, add_run, read_study

POLICIES = {"gr00t": "", "mlp": "mlp_", "flow_mlp": "flow_mlp_"}
SPARSE = "env.rewards=sparse"
GOAL = 0.8
"""Success rate whose first passing is reported."""


@dataclass(frozen=True)
class Arm:
    """One setting of the study."""

    name: str
    algorithm: str
    """"ppo" or "grpo": which agent of the task."""
    overrides: tuple[str, ...] = ()

    def agent(self, policy: str) -> str:
        """Return the task's agent entry point."""
        return f"rsl_rl_{POLICIES[policy]}{'grpo_' if self.algorithm == 'grpo' else ''}cfg_entry_point"


def grpo(name: str, *overrides: str) -> Arm:
    """Return an arm of the GRPO family."""
    options = tuple(o if o.startswith("env.") else f"agent.algorithm.{o}" for o in overrides)
    return Arm(name, "grpo", options)


ARMS = {
    arm.name: arm
    for arm in (
        Arm("ppo", "ppo"),
        grpo("grpo"),
        grpo("dr_grpo", "advantage=dr_grpo"),
        grpo("rloo", "advantage=rloo"),
        grpo("grpo_reward_to_go", "credit=reward_to_go", "gamma=0.975"),
        Arm("ppo_sparse", "ppo", (SPARSE,)),
        grpo("grpo_sparse", SPARSE),
        grpo("rloo_sparse", SPARSE, "advantage=rloo"),
        grpo("grpo_groups_of_4", "group_size=4"),
        grpo("grpo_groups_of_16", "group_size=16"),
        grpo("grpo_sparse_keep", SPARSE, "zero_std_groups=keep"),
        grpo("grpo_sparse_resample", SPARSE, "zero_std_groups=resample"),
    )
}
PANELS = {
    "dense rewards": ("ppo", "grpo", "dr_grpo", "rloo", "grpo_reward_to_go"),
    "sparse rewards": ("ppo_sparse", "grpo_sparse", "rloo_sparse"),
    "group size (dense)": ("grpo_groups_of_4", "grpo", "grpo_groups_of_16"),
    "groups without variance (sparse)": ("grpo_sparse_keep", "grpo_sparse", "grpo_sparse_resample"),
}
"""What is drawn together; "grpo" has groups of 8 and drops groups without variance."""


def iterations(args: argparse.Namespace, arm: Arm) -> int:
    """Return how many iterations make up the budget of env steps, from the cfgs alone."""
    from isaaclab_tasks.utils.hydra import resolve_task_config

    import gr00t_rl.tasks  # noqa: F401
    from gr00t_rl.utils.episodes import episode_steps

    env_cfg: Any
    agent_cfg: Any
    env_cfg, agent_cfg = resolve_task_config(args.task, arm.agent(args.policy), overrides=[])
    steps = agent_cfg.num_steps_per_env or episode_steps(env_cfg)
    return max(1, math.ceil(args.env_steps / (steps * (args.num_envs or env_cfg.scene.num_envs))))


def train(args: argparse.Namespace, arm: Arm, seed: int) -> Record:
    """Return the study's record of a run, after training it if there is none yet."""
    name = f"{args.task}_{args.policy}_{arm.name}_seed{seed}"
    if name in (study := read_study(args.out)):
        return study[name]
    command = [
        *(sys.executable, "-m", "isaaclab", "train", "--rl_library", "rsl_rl", "--device", args.device),
        *("--task", args.task, "--agent", arm.agent(args.policy), "--seed", str(seed)),
        *("--max_iterations", str(iterations(args, arm))),
        *(("--num_envs", str(args.num_envs)) if args.num_envs else ()),
        *((f"agent.actor.checkpoint={args.base.resolve()}",) if args.base else ()),
        *arm.overrides,
        *args.override,
    ]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        with log.open("w") as output:
            done = subprocess.run(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command[1:])} failed:\n{log.read_text()[-2000:]}")
        curve = curve_of(next(Path(folder).rglob("events.out.tfevents*")).parent)
    shown = [part if part != str(args.base and args.base.resolve()) else "BASE" for part in command[1:]]
    record = {"arm": arm.name, "command": shown, "seed": seed, **curve}
    add_run(args.out, name, record)
    return record


def summarise(curve: dict[str, Any]) -> dict[str, float | None]:
    """Return final success and when the goal was first passed."""
    success, steps = np.array(curve["success_rate"], dtype=float), np.array(curve["env_steps"])
    passed = np.flatnonzero(success >= GOAL)
    first = int(passed[0]) if len(passed) else None
    return {
        "final_success": round(float(np.nanmean(success[steps >= 0.9 * steps[-1]])), 4),
        "final_return": round(float(np.nanmean(np.array(curve["return"], dtype=float)[steps >= 0.9 * steps[-1]])), 4),
        "env_steps_to_80": None if first is None else float(steps[first]),
        "minutes_to_80": None if first is None else round(curve["seconds"][first] / 60, 2),
        "minutes": round(curve["seconds"][-1] / 60, 2),
    }


def plot(curves: dict[str, list[dict[str, Any]]], args: argparse.Namespace) -> None:
    """Draw success over env steps and over minutes, one row per comparison: mean over seeds and their range."""
    panels = {title: [a for a in arms if a in curves] for title, arms in PANELS.items()}
    panels = {title: arms for title, arms in panels.items() if arms}
    figure, axes = plt.subplots(len(panels), 2, figsize=(10, 3.2 * len(panels)), layout="constrained", squeeze=False)
    for row, (title, arms) in zip(axes, panels.items(), strict=True):
        for axis, (key, unit, label) in zip(
            row, (("env_steps", 1e6, "env steps [million]"), ("seconds", 60, "minutes")), strict=True
        ):
            for arm in arms:
                length = min(len(c[key]) for c in curves[arm])
                x = np.mean([c[key][:length] for c in curves[arm]], axis=0) / unit
                y = np.array([c["success_rate"][:length] for c in curves[arm]], dtype=float)
                (line,) = axis.plot(x, y.mean(0), label=arm)
                axis.fill_between(x, y.min(0), y.max(0), alpha=0.2, color=line.get_color(), linewidth=0)
            axis.set(xlabel=label, ylabel="success rate", title=title, ylim=(-0.02, 1.02))
            axis.grid(alpha=0.3)
        row[0].legend(fontsize=8)
    figure.suptitle(f"{args.task}, {args.policy}: mean and range of {len(args.seeds)} seeds", fontsize=10)
    args.plot.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.plot, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="Gr00t-Push-Cube-Franka")
    parser.add_argument("--policy", choices=POLICIES, default="gr00t")
    parser.add_argument("--base", type=Path, help="GR00T checkpoint folder that every run starts from")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--env_steps", type=float, default=2e6, help="env steps of each run")
    parser.add_argument("--num_envs", type=int, help="envs; a multiple of 16 for all arms")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--override", nargs="*", default=[], help="Hydra overrides of every run")
    parser.add_argument("--out", type=Path, required=True, help="study file, such as docs/results/grpo_study.json")
    parser.add_argument("--plot", type=Path, help="picture to draw")
    args = parser.parse_args()
    curves: dict[str, list[dict[str, Any]]] = {}
    for seed in args.seeds:
        for name in args.arms:
            curve = train(args, ARMS[name], seed)
            if ARMS[name].algorithm == "ppo":
                curve |= {key: curve[key][WARM_UP:] for key in ("seconds", "env_steps", "return", "success_rate")}
            curves.setdefault(name, []).append(curve)
            row = summarise(curve)
            print(f"{name:22s} seed {seed}  " + "  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if args.plot:
        plot(curves, args)


if __name__ == "__main__":
    main()
