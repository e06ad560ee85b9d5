# SPDX-License-Identifier: BSD-3-Clause
"""``gr00t-rl serve``: a policy as a service that clients of NVIDIA's inference services can ask."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..utils.errors import ConfigurationError
from . import verb_parser

TOKEN = "GR00T_API_TOKEN"
DESCRIPTION = f"""Serve a policy over ZeroMQ, in the protocol of NVIDIA's inference services of GR00T N1.5 and N1.7.

A robot's program sends pictures, state and instruction, and gets a chunk of actions. Only this machine is let in,
unless --host says otherwise; then clients must send the token in the environment variable {TOKEN}.
Ctrl-C or SIGTERM ends it."""
EXAMPLES = """
  gr00t-rl serve --checkpoint checkpoints/lifted
  gr00t-rl serve --checkpoint logs/rsl_rl/EXPERIMENT/RUN --port 5556 --init_noise_scale 0
  gr00t-rl serve --checkpoint /path/to/gr00t_n1d7 --embodiment_tag libero_sim --tokenizer /path/to/tokenizer"""


def build_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = verb_parser("serve", DESCRIPTION, EXAMPLES)
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="folder or hub id of a GR00T checkpoint; model_N.pt of a run, its folder, or 'latest' or 'best' of --task "
        "and --agent",
    )
    parser.add_argument("--task", help="task id, for 'latest' and 'best'")
    parser.add_argument(
        "--agent",
        default="rsl_rl_cfg_entry_point",
        help="agent, for 'latest' and 'best' (default: rsl_rl_cfg_entry_point)",
    )
    parser.add_argument("--base", help="base weights of a run, where they are no longer where it found them")
    parser.add_argument("--host", default="127.0.0.1", help="address to be reached at (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=5555, help="TCP port; 0: any free one (default 5555)")
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: the GPU if there is one)")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        help="type of the weights (default: bfloat16 for networks of the released size, else float32)",
    )
    parser.add_argument("--num_inference_timesteps", type=int, help="denoising steps (default: as evaluated)")
    parser.add_argument(
        "--init_noise_scale", type=float, help="scale of the initial noise, 0: deterministic (default: as evaluated)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the initial noise (default 0)")
    foreign = parser.add_argument_group("checkpoints that `gr00t-rl export` and `finetune` did not write")
    foreign.add_argument(
        "--settings", type=Path, help="JSON or YAML of what the folder does not say, such as normalisation: "
        "docs/serving.md"
    )  # fmt: skip
    foreign.add_argument("--embodiment_tag", help="which of the embodiments of an N1.7 folder")
    foreign.add_argument("--tokenizer", help="folder or hub id of the tokenizer (default: the checkpoint's)")
    return parser


def check_arguments(args: argparse.Namespace, token: str | None) -> None:
    """Choose the device, and refuse arguments that cannot work, before weights are read.

    Raises:
        ConfigurationError: At the first of them.
    """
    if not 0 <= args.port < 65536:
        raise ConfigurationError(f"--port is {args.port}; set 1 to 65535, or 0 for any free one")
    if args.num_inference_timesteps is not None and args.num_inference_timesteps < 1:
        raise ConfigurationError(f"--num_inference_timesteps is {args.num_inference_timesteps}; set at least 1")
    if token is not None and not token.strip():
        raise ConfigurationError(f"{TOKEN} is set, but empty; set a token, or unset it")
    from ..serving.server import check_host

    check_host(args.host, token)
    from ..utils.devices import chosen_device

    args.device = chosen_device(args.device)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; returns the exit status."""
    args = build_parser().parse_args(sys.argv[1:] if argv is None else argv)
    token = os.environ.get(TOKEN)
    check_arguments(args, token)
    from ..serving import PolicyServer
    from ..serving.loading import Choices, load_policy
    from .run_file import run_file

    path = Path(args.checkpoint).expanduser()
    is_run = args.checkpoint in ("latest", "best") or path.is_file() or (path / "params").is_dir()
    file = run_file(args.checkpoint, args.task, args.agent) if is_run else None
    print(f"reading {file or args.checkpoint} ...", flush=True)
    chosen = ("settings", "embodiment_tag", "tokenizer", "base", "dtype", "device")
    chosen += ("num_inference_timesteps", "init_noise_scale", "seed")
    policy = load_policy(file, None if is_run else args.checkpoint, Choices(**{n: getattr(args, n) for n in chosen}))
    server = PolicyServer(policy, args.host, args.port, token)
    for line in policy.describe():
        print(line)
    print(f"ready: {server.address}{', with a token' if token else ''}", flush=True)
    server.run()
    print("ended", flush=True)
    return 0
