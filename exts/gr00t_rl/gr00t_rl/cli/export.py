# SPDX-License-Identifier: BSD-3-Clause
"""``gr00t-rl export``: the policy of a training run as a GR00T checkpoint in the official layout."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ..utils.errors import ConfigurationError
from ..utils.folders import check_checkpoint_folder
from . import verb_parser

DESCRIPTION = """Write the policy of a training run as a GR00T checkpoint in the official layout.

The folder loads wherever the base checkpoint did. Judge it as it will be used, rounding to bfloat16 included:
`gr00t-rl evaluate --task TASK --checkpoint DIR`."""
EXAMPLES = """
  gr00t-rl export --checkpoint logs/rsl_rl/EXPERIMENT/RUN/model_9.pt --out checkpoints/lifted
  gr00t-rl export --checkpoint best --task Gr00t-Push-Cube-Franka --out checkpoints/lifted"""


def build_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = verb_parser("export", DESCRIPTION, EXAMPLES)
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="model_N.pt in the folder of its run, that folder, or 'latest' or 'best' of --task and --agent",
    )
    parser.add_argument("--task", help="task id, for 'latest' and 'best'")
    parser.add_argument("--agent", default="rsl_rl_cfg_entry_point", help="agent, for 'latest' and 'best'")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an existing checkpoint is replaced")
    parser.add_argument("--base", help="base weights, where they are no longer where the run found them")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="type on disk (default bfloat16)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the checkpoint.

    Raises:
        ConfigurationError: Something does not fit.
    """
    args = build_parser().parse_args(sys.argv[1:] if argv is None else argv)
    check_checkpoint_folder("--out", args.out)
    file = _find(args.checkpoint, args.task, args.agent)
    import torch

    from ..gr00t import CheckpointError
    from ..models.trained import trained_network

    try:
        print(f"reading {file} and its base weights ...", flush=True)
        model = trained_network(file, args.base).to(getattr(torch, args.dtype))
        print(f"writing {args.out} ...", flush=True)
        model.save_pretrained(args.out)
    except CheckpointError as error:
        raise ConfigurationError(str(error)) from None
    print(f"{args.out}: the policy of {file}, {args.dtype}")
    return 0


def _find(checkpoint: str, task: str | None, agent: str) -> Path:
    """Return the file that ``--checkpoint`` names."""
    from ..launch.checkpoints import apply_checkpoint

    agent_cfg: Any = SimpleNamespace()
    if checkpoint in ("latest", "best"):
        if task is None:
            raise ConfigurationError(f"--checkpoint {checkpoint} is that of a task; set --task, and --agent")
        from .simulated import check_task

        problem = check_task(task)
        if problem is not None:
            raise ConfigurationError(problem)
        from isaaclab_tasks.utils import load_cfg_from_registry

        agent_cfg = load_cfg_from_registry(task, agent)
    path = apply_checkpoint(checkpoint, "export", agent_cfg, task or "", agent)
    assert path is not None
    return Path(path)
