# SPDX-License-Identifier: BSD-3-Clause
"""Load what `gr00t-rl export` writes after RL with LeRobot 0.4.4's own N1.5 classes: same weights, same actions.

    python source/standalone/tools/interop_lerobot.py
    python source/standalone/tools/interop_lerobot.py --checkpoint logs/rsl_rl/EXPERIMENT/RUN/model_9.pt

It makes an environment of its own, because LeRobot wants transformers 4, and fills it once (uv, some gigabytes).
Without ``--checkpoint`` it trains Push-Camera's shipped base for two tiny iterations first. The exported folder must
hold every weight that the released classes have and no other, some that the base had not, and give the same actions
for the same pictures, prompt, states, embodiments and noise, in float32. Anything else ends with exit status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from released_get_action import make_inputs, read_weights, released_network, sizes_of

LEROBOT = ("lerobot==0.4.4", "transformers<5", "peft", "timm", "einops", "dm-tree")
TASK = "Gr00t-Push-Cube-Franka-Camera"
TINY = ("--device", "cpu", "--num_envs", "4", "--max_iterations", "2", "agent.num_steps_per_env=16")
"""In the first of them the critic learns alone."""
TOLERANCE = 1e-5
"""Largest difference of normalised actions."""
BATCH = 3
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def make_env(folder: Path) -> Path:
    """Return the Python of the environment with LeRobot in ``folder``, which is made if it is not there."""
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        if shutil.which("uv") is None:
            sys.exit("interop_lerobot: there is no uv, which makes the environment; pip install uv, or give --released")
        subprocess.run(["uv", "venv", "--clear", "--python", sys.executable, str(folder)], check=True)
        subprocess.run(["uv", "pip", "install", "--python", str(python), *LEROBOT], check=True)
        (folder / "complete").touch()
    return python


def train(folder: Path) -> Path:
    """Train the shipped base in ``folder``; returns the run's last checkpoint."""
    subprocess.run([sys.executable, "-m", "gr00t_rl", "train", "--task", TASK, *TINY], cwd=folder, check=True)
    return next(folder.glob("logs/rsl_rl/*/*/model_1.pt"))


def inputs_of(sizes: dict[str, Any], embodiments: int) -> dict[str, torch.Tensor]:
    """Return inputs of several embodiments, and seed the noise that is drawn next."""
    inputs = make_inputs(sizes, BATCH)
    return inputs | {"embodiment_id": torch.arange(BATCH) % embodiments}


def load_released(folder: Path) -> None:
    """In the other environment: print the names that do not fit, and write the actions beside the checkpoint."""
    torch.set_num_threads(1)
    about = json.loads((folder / "about.json").read_text())
    stdout, sys.stdout = sys.stdout, sys.stderr  # the released classes print
    model = released_network(folder)
    odd = model.load_state_dict(read_weights(folder), strict=False)
    names = {"missing": odd.missing_keys, "unexpected": odd.unexpected_keys, "loaded": len(model.state_dict())}
    inputs = inputs_of(about["sizes"], about["embodiments"])
    with torch.no_grad():
        torch.save(model.get_action(inputs)["action_pred"], folder / "actions.pt")
    print(json.dumps(names), file=stdout)


def compare(exported: Path, base: Path, python: Path) -> None:
    """Compare our network and the released one on an exported folder; ends the program where they differ."""
    from gr00t_rl.gr00t import from_pretrained

    ours = from_pretrained(exported, dtype=torch.float32)
    weights, before = read_weights(exported), read_weights(base)
    trained = [name for name in weights if not torch.equal(weights[name].float(), before[name].float())]
    sizes, embodiments = sizes_of(ours.config), ours.config.action_head.max_num_embodiments
    (exported / "about.json").write_text(json.dumps({"sizes": sizes, "embodiments": embodiments}))
    command = [str(python), str(Path(__file__).resolve()), "--load", str(exported)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        sys.exit(f"interop_lerobot: {python} does not run LeRobot's classes; see what it says above")
    names = json.loads(done.stdout.splitlines()[-1])
    actions = ours.get_action(inputs_of(sizes, embodiments))
    apart = (actions - torch.load(exported / "actions.pt", weights_only=True)).abs().max().item()
    print(f"{names['loaded']} weights, {len(trained)} of them trained; missing: {names['missing'] or 'none'}, ", end="")
    print(f"unexpected: {names['unexpected'] or 'none'}; largest difference of {actions.numel()} actions: {apart:.2g}")
    if not trained:
        sys.exit(
            f"interop_lerobot: all weights are those of {base}, so that nothing was shown; give a later model_N.pt"
        )
    if names["missing"] or names["unexpected"] or not apart < TOLERANCE:
        sys.exit(f"interop_lerobot: the export is not what LeRobot loads (actions may differ by {TOLERANCE})")


def main() -> None:
    """Train, export, load and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="model_N.pt of a run of Push-Camera's N1.5 agent")
    parser.add_argument("--released", type=Path, help="Python of an environment with LeRobot 0.4.4")
    parser.add_argument(
        "--env", type=Path, default=_CACHE / "gr00t_rl" / "lerobot_env", help="where it is made otherwise (%(default)s)"
    )
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.load is not None:
        load_released(args.load)
        return
    from gr00t_rl.assets.checkpoints import base_checkpoint
    from gr00t_rl.cli.export import main as export

    torch.set_num_threads(1)
    python = args.released or make_env(args.env)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, exported = args.checkpoint or train(Path(folder)), Path(folder) / "exported"
        export(["--checkpoint", str(checkpoint), "--out", str(exported), "--dtype", "float32"])
        compare(exported, Path(base_checkpoint("push_cube_camera")), python)


if __name__ == "__main__":
    main()
