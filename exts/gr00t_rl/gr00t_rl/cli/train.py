# SPDX-License-Identifier: BSD-3-Clause
"""``gr00t-rl train``: Isaac Lab's ``train`` with rsl_rl, in one process or several.

It picks the device and names the tasks if an id is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from ..launch.processes import CLUSTER_FLAGS, count_processes, newest_checkpoint, run_processes, run_timestamp
from ..utils.errors import ConfigurationError
from ..utils.stop import restart_on_sigterm
from . import verb_parser, wants_help
from .simulated import OVERRIDES, launch

EXAMPLES = """
  gr00t-rl train --task Gr00t-Push-Cube-Franka --device cpu
  gr00t-rl train --task Gr00t-Reach-Franka --agent rsl_rl_mlp_cfg_entry_point --num_envs 64 --max_iterations 200
  gr00t-rl train --task Gr00t-Push-Cube-Franka --agent rsl_rl_grpo_cfg_entry_point agent.algorithm.kl_coef=0.01
  gr00t-rl train --task Gr00t-Push-Cube-Franka-Camera --agent rsl_rl_lora_cfg_entry_point --num_envs 64 \\
      agent.actor.checkpoint=/path/to/gr00t_n1d5 agent.actor.tokenizer=/path/to/eagle_assets \\
      agent.actor.embodiment_id=31 agent.actor.dtype=bfloat16 env.camera_size=224
  gr00t-rl train --task Gr00t-Push-Cube-Franka --checkpoint latest
  gr00t-rl train --task Gr00t-Push-Cube-Franka --device cpu --processes auto"""


def build_parser() -> argparse.ArgumentParser:
    """The options that matter most here; Isaac Lab reads them, and it has more."""
    parser = verb_parser(
        "train",
        "Train a task by reinforcement learning. The same as `isaaclab train --rl_library rsl_rl`, whose --help lists\n"
        f"all options.\n\n{OVERRIDES}",
        EXAMPLES,
    )
    parser.add_argument("--task", help="task id")
    parser.add_argument("--agent", help="policy and algorithm (default: rsl_rl_cfg_entry_point, GR00T with PPO)")
    parser.add_argument("--num_envs", type=int, help="envs, of each process (default: the task's)")
    parser.add_argument("--max_iterations", type=int, help="iterations (default: the agent's)")
    parser.add_argument("--seed", type=int, help="seed of everything random")
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: the GPU if there is one)")
    parser.add_argument("--video", action="store_true", help="film a few envs (needs moviepy)")
    parser.add_argument("--video_length", type=int, help="env steps of a film")
    parser.add_argument("--checkpoint", help="go on from a model_N.pt, a run's folder, 'latest' or 'best'")
    parser.add_argument("--logger", help="tensorboard or wandb (default: tensorboard)")
    parser.add_argument(
        "--processes",
        metavar="N",
        help="processes that train together, each with --num_envs envs of its own: a number, or auto for all GPUs "
        "(without one, or with --device cpu: all cores); default 1",
    )
    cluster = parser.add_argument_group("several machines", "torchrun's flags, the same command on each")
    for flag in CLUSTER_FLAGS:
        cluster.add_argument(*_spellings(flag), metavar="X")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the command line says; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if wants_help(argv):
        return launch("train", build_parser(), argv)
    restart_on_sigterm()
    ours, others = _processes_parser().parse_known_args(argv)
    cluster = [f"--{flag}={getattr(ours, flag)}" for flag in CLUSTER_FLAGS if getattr(ours, flag) is not None]
    if cluster and ours.nnodes is None:
        raise ConfigurationError(f"{cluster[0]} is for several machines; set --nnodes to their number too")
    count, kind = 1, ""
    if cluster or ours.processes is not None:
        count, kind = count_processes(ours.processes or "auto", ours.device)
    if count == 1 and not cluster:
        return launch("train", build_parser(), [*others, *(["--device", ours.device] if ours.device else [])])
    return _train_together(count, kind, cluster, others)


def _spellings(flag: str) -> list[str]:
    """Return a flag as torchrun takes it: --node_rank and --node-rank."""
    return sorted({f"--{flag}", f"--{flag.replace('_', '-')}"}, reverse=True)


def _processes_parser() -> argparse.ArgumentParser:
    """What the processes' launcher reads of the command line; Isaac Lab reads the rest."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("processes", *CLUSTER_FLAGS):
        parser.add_argument(*_spellings(flag))
    parser.add_argument("--device")
    return parser


def _train_together(count: int, kind: str, cluster: list[str], others: list[str]) -> int:
    """Start the processes of this machine, and wait for them."""
    # the networks of a CPU run are so small that a second thread costs more than it brings
    threads = 1 if kind == "cpu" else max(1, min(8, len(os.sched_getaffinity(0)) // count))
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    where = "on CPU cores (gloo)" if kind == "cpu" else "with a GPU each (NCCL)"
    here = f"{count} process{'es' if count > 1 else ''}{' on this machine' if cluster else ''}"
    print(
        f"[gr00t_rl] {here} {where}, OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}. --num_envs counts for each "
        "process: N of them have N times as many envs, and as many decisions in a minibatch",
        flush=True,
    )
    began, stamp = time.time(), run_timestamp()
    if cluster or any(arg.startswith("--run_timestamp") for arg in others):
        stamp = ""  # of several machines, the first process says how the run's folder is called
    worker = [*others, "--distributed", *([f"--run_timestamp={stamp}"] if stamp else [])]
    if kind == "cpu":
        worker += ["--device", "cpu"]
    worker = ["--module", "gr00t_rl.cli.worker", *worker]
    return run_processes(worker, count, cluster, lambda: newest_checkpoint(began, stamp))
