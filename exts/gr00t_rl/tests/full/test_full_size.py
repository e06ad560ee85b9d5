# SPDX-License-Identifier: BSD-3-Clause
"""The released size on a CPU: made, trained with adapters, stopped, resumed, exported, loaded. Opt-in: -m full.

    uv run pytest -m full -s

prints what docs/full_size.md has: seconds and peak memory of every step.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

TASK, AGENT = "Gr00t-Push-Cube-Franka-Camera", "rsl_rl_lora_cfg_entry_point"
SETTINGS = ("agent.actor.checkpoint=base", "agent.actor.dtype=bfloat16", "--device", "cpu")
SIZE = ("--num_envs", "2", "agent.num_steps_per_env=16", "agent.algorithm.num_learning_epochs=1")
LOADED = """
import torch
from gr00t_rl.gr00t import from_pretrained
base, lifted = (from_pretrained(folder) for folder in ("base", "lifted"))
pairs = list(zip(base.named_parameters(), lifted.parameters(), strict=True))
moved = [name for (name, a), b in pairs if not torch.equal(a, b)]
print(len(pairs), *moved, sep="\\n")
"""


def call(folder: Path, name: str, *command: str) -> str:
    """Run a command in ``folder``, print its time and its peak memory, and return what it printed."""
    began, log = time.monotonic(), folder / f"{name}.log"
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    said = log.read_text()
    assert process.returncode == 0, said[-4000:]
    print(f"\n{name}: {time.monotonic() - began:.0f} s, peak {usage.ru_maxrss / 2**20:.1f} GiB", flush=True)
    return said


def gr00t_rl(folder: Path, name: str, *arguments: str) -> str:
    return call(folder, name, sys.executable, "-m", "gr00t_rl", *arguments)


@pytest.mark.full
@pytest.mark.parametrize(
    ("generation", "camera", "adapters", "blocks"), [("n1.5", 224, 7.21, 16), ("n1.7", 256, 14.42, 32)]
)
def test_adapters_of_the_released_size_train_stop_resume_and_export(
    tmp_path: Path, generation: str, camera: int, adapters: float, blocks: int
) -> None:
    make = ("make-checkpoint", "--generation", generation, "--full-size", "--out", "base", "--dtype", "bfloat16")
    gr00t_rl(tmp_path, "make-checkpoint", *make)
    settings = (*SIZE, *SETTINGS, f"env.camera_size={camera}")
    train = ("train", "--task", TASK, "--agent", AGENT, "--max_iterations", "1", *settings)
    table = gr00t_rl(tmp_path, "train", *train)
    assert f"{adapters:.2f} M" in table
    (first,) = tmp_path.glob("logs/rsl_rl/*/*/model_0.pt")  # of the critic's warm-up: the adapters are new
    gr00t_rl(tmp_path, "resume", *train, "--checkpoint", "latest")
    (second,) = tmp_path.glob("logs/rsl_rl/*/*/model_1.pt")
    size = second.stat().st_size
    print(f"model_1.pt, optimiser included: {size / 1e6:.1f} MB")
    assert 12e6 * adapters < size < 150e6 * blocks / 16  # float32 weights and two moments
    states = [torch.load(file, weights_only=True)["actor_state_dict"] for file in (first, second)]
    assert states[0].keys() == states[1].keys()
    learned = [name for name, a in states[0].items() if name != "base" and not torch.equal(a, states[1][name])]
    assert all(name.startswith("model.action_head.model.transformer_blocks.") for name in learned)
    assert len([name for name in learned if ".lora_B." in name]) == blocks * 6  # A's gradient is 0 in the first step
    gr00t_rl(tmp_path, "export", "export", "--checkpoint", str(second), "--out", "lifted")
    count, *moved = call(tmp_path, "load", sys.executable, "-c", LOADED).splitlines()
    assert int(count) > 800
    # steps this small can be lost in bfloat16's rounding: some weights of the adapted layers move, and no others
    assert moved and all(name.startswith("action_head.model.transformer_blocks.") for name in moved)
