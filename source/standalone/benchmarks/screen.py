# SPDX-License-Identifier: BSD-3-Clause
"""Screen settings against each other: the same task, base, seeds and env steps, one table with intervals.

    python source/standalone/benchmarks/screen.py --task Gr00t-Push-Cube-Franka --iterations 40 --seeds 1 --jobs 2 \
        --setting present --setting "gamma 0.98" agent.algorithm.gamma=0.98 --out docs/results/screen.json

Each setting is one call of ``gr00t-rl train`` per seed, with its overrides, and one of ``gr00t-rl evaluate`` of the
last checkpoint, without exploration noise and with the initial noise as trained. A run is added to the study file
``--out`` as ``<task>_<setting>_<iterations>_seed<seed>``; runs that are in it are not repeated, so that an interrupted
call goes on and later settings join earlier ones. A setting that changes an iteration's env steps says how many
iterations are as many env steps: ``iterations=20`` among its overrides.
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from finetune_lift import evaluate, last_checkpoint, share, train
from learning_curves import curve_of
from records import Record, add_run, read_study

LENGTH = "iterations="


@dataclass(frozen=True)
class Setting:
    """What a run changes."""

    name: str
    overrides: tuple[str, ...]
    iterations: int

    @classmethod
    def parse(cls, words: list[str], iterations: int) -> Setting:
        """Read the words of ``--setting``: a name, overrides, and perhaps a length of its own."""
        name, *rest = words
        own = [int(word.removeprefix(LENGTH)) for word in rest if word.startswith(LENGTH)]
        return cls(name, tuple(word for word in rest if not word.startswith(LENGTH)), own[0] if own else iterations)


def run_name(args: argparse.Namespace, setting: Setting, seed: int) -> str:
    """Name of a run in the study."""
    return f"{args.task}_{setting.name}_{setting.iterations}_seed{seed}"


def make(args: argparse.Namespace, setting: Setting, seed: int) -> None:
    """Train and evaluate one setting with one seed, unless the study has it."""
    name = run_name(args, setting, seed)
    if name in read_study(args.out):
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        run = train(args, seed, setting.iterations, [*setting.overrides, *args.overrides], folder)
        checkpoint, last = last_checkpoint(run, setting.iterations)
        actor = [word for word in setting.overrides if word.startswith("agent.actor.")]
        after = evaluate(args, str(checkpoint), "1", folder, actor)
        record = {"task": args.task, "agent": args.agent, "seed": seed, "iterations": last + 1}
        record |= {"overrides": [*setting.overrides, *args.overrides], "processes": args.processes, "after": after}
        add_run(args.out, name, record | {"curve": curve_of(run)})
    print(line(read_study(args.out)[name], setting), flush=True)


def line(record: Record, setting: Setting) -> str:
    """One run as a row of the table."""
    curve = record["curve"]
    success = np.array(curve["success_rate"], dtype=float)
    late = np.nanmean(success[-max(3, len(success) // 10) :])
    steps, minutes = curve["env_steps"][-1] / 1e6, curve["seconds"][-1] / 60
    changed = " ".join(word.removeprefix("agent.") for word in setting.overrides) or "as shipped"
    row = (setting.name, changed, record["seed"], f"{steps:.2f} M", f"{minutes:.1f}", f"{100 * late:.0f} %")
    return f"| {' | '.join(map(str, row))} | {share(record['after'])} |"


def main() -> None:
    """Make what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True)
    parser.add_argument("--agent", default="rsl_rl_cfg_entry_point")
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--setting", nargs="+", action="append", required=True, metavar=("NAME", "OVERRIDE"))
    parser.add_argument("--processes", type=int, default=1, help="processes of one run")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once")
    parser.add_argument("--episodes", type=int, default=512)
    parser.add_argument("--eval_envs", type=int, default=256)
    parser.add_argument("--out", type=Path, required=True, help="study file, such as docs/results/screen.json")
    args, args.overrides = parser.parse_known_args()
    settings = [Setting.parse(words, args.iterations) for words in args.setting]
    args.out = args.out.resolve()
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(lambda job: make(args, *job), [(setting, seed) for setting in settings for seed in args.seeds]))
    study = read_study(args.out)
    print("| setting | changed | seed | env steps | minutes | training episodes | evaluation |")
    print("|---|---|---|---|---|---|---|")
    for setting in settings:
        for seed in args.seeds:
            print(line(study[run_name(args, setting, seed)], setting))


if __name__ == "__main__":
    main()
