# SPDX-License-Identifier: BSD-3-Clause
"""The command ``gr00t-rl``: a module per verb, loaded when the verb is called."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Sequence

from ..utils.errors import ConfigurationError
from ..utils.extras import how_to_get

VERBS = {
    "doctor": "what is installed, what works on this machine, and how to get the rest",
    "estimate": "say how much memory a training run will need, before it is started",
    "train": "train a task by reinforcement learning (PPO, GRPO)",
    "play": "play a trained policy, and export it to TorchScript and ONNX",
    "evaluate": "measure success with an interval, film episodes, write a report",
    "collect": "record demonstrations of a task's scripted expert",
    "dataset": "look into a dataset of demonstrations, and draft its modality.json",
    "finetune": "train a base policy on demonstrations",
    "export": "write a run's policy as a GR00T checkpoint",
    "serve": "serve a policy to robots, in the protocol of NVIDIA's inference services",
    "make-checkpoint": "write a GR00T checkpoint with random weights",
    "new": "write a package with a robot and a task of your own, to change",
}
"""Verb -> what it does. The verb ``make-checkpoint`` is in ``make_checkpoint.py``."""
EXTRAS = {
    "isaaclab": ("isaaclab", "isaaclab_rl", "isaaclab_tasks", "isaaclab_newton", "gymnasium", "newton", "warp"),
    "ovphysx": ("ovphysx", "isaaclab_ov"),
    "data": ("av", "pyarrow", "PIL"),
    "report": ("matplotlib", "tensorboard"),
    "serve": ("msgpack", "zmq"),
    "wandb": ("wandb",),
}
"""Extra of this package -> top-level modules that it brings."""

_OVERRIDE = re.compile(r"(env|agent)\.[\w.]+=|(physics|renderer|presets)=")
_EPILOG = """examples:
  gr00t-rl doctor
  gr00t-rl train --task Gr00t-Push-Cube-Franka --device cpu
  gr00t-rl evaluate --task Gr00t-Push-Cube-Franka --checkpoint latest
  gr00t-rl VERB --help"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb on the command line and return its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] not in VERBS:
        build_parser().parse_args(argv or ["--help"])
    verb, *others = argv
    try:
        return importlib.import_module(f".{verb.replace('-', '_')}", __name__).main(others)
    except ModuleNotFoundError as error:
        module = (error.name or "").split(".")[0]
        extra = next((name for name, modules in EXTRAS.items() if module in modules), None)
        if extra is None:
            raise
        raise ConfigurationError(
            f"gr00t-rl {verb} needs {module}, which is not installed; {how_to_get(extra)}"
        ) from None


def build_parser() -> argparse.ArgumentParser:
    """The command line without the verbs' own options."""
    from .. import __version__

    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:{width}}  {text}" for verb, text in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="gr00t-rl",
        usage="gr00t-rl [-h] [--version] VERB ...",
        description=f"Fine-tune GR00T N1.5 and N1.7 by reinforcement learning in Isaac Lab.\n\nverbs:\n{verbs}",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gr00t_rl {__version__}")
    parser.add_argument("verb", choices=VERBS, help=argparse.SUPPRESS)
    return parser


def verb_parser(verb: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser for a verb's own options, whose help ends with examples, one command each."""
    return argparse.ArgumentParser(
        prog=f"gr00t-rl {verb}",
        description=description,
        epilog=f"examples:\n{examples.strip(chr(10))}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def overrides_first(argv: Sequence[str]) -> list[str]:
    """Return the command line with Hydra overrides in front: options that take several values would swallow them."""
    return sorted(argv, key=lambda arg: not _OVERRIDE.match(arg))  # stable: all else keeps its order


def wants_help(argv: Sequence[str]) -> bool:
    """Whether the command line asks for help."""
    return bool({"-h", "--help"} & set(argv))
