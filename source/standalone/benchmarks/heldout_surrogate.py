# SPDX-License-Identifier: BSD-3-Clause
"""Does an update of PPO improve the policy, or only fit the noise of its advantages? Measured on envs left out of it.

    python source/standalone/benchmarks/heldout_surrogate.py --task Gr00t-Push-Cube-Franka --iterations 20 \
        agent.algorithm.num_learning_epochs=1

Trains through Isaac Lab's own ``train`` with a PPO that learns from two thirds of the envs only. After each update it
prints E[(r - 1) A], by how much the update raised the surrogate of Schulman et al. (arXiv 1707.06347, eq. 6), with its
standard error: for the decisions it learned from, and for those of the other envs, where the advantages' noise is
independent. What the second falls short of the first is overfitting. At the end the mean of either over the iterations.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from tensordict import TensorDict

from gr00t_rl.algorithms import PPO

LEFT_OUT = 3
"""Every third env is left out."""
NAMES = ("learned from", "left out")


class HeldOutPPO(PPO):
    """PPO that leaves some envs out of its updates and prints what these did to the surrogate there."""

    def _run_epochs(self, batch: TensorDict) -> dict[str, float]:
        """Learn from the other envs' decisions."""
        left_out = self.storage.rows % self.env.num_envs % LEFT_OUT == 0
        metrics = super()._run_epochs(batch[~left_out])
        if not self._warming_up:
            gains = [self._gain(batch[rows]) for rows in (~left_out, left_out)]
            text = ", ".join(
                f"{name} {mean:.4f} +- {error:.4f}" for name, (mean, error) in zip(NAMES, gains, strict=True)
            )
            print(f"surrogate gain: {text}", flush=True)
        return metrics

    @torch.no_grad()
    def _gain(self, part: TensorDict) -> tuple[float, float]:
        """Mean of (r - 1) A over the decisions ``part`` [B], and its standard error."""
        log_prob = torch.cat([self._evaluate(rows).log_prob for rows in part.split(self._pass_size(part))])
        gain = ((log_prob - part["log_prob"]).exp() - 1.0) * part["advantage"]
        return gain.mean().item(), (gain.std() / len(gain) ** 0.5).item()


def main() -> None:
    """Train, show the lines of the updates, and average them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    args, overrides = parser.parse_known_args()
    command = [sys.executable, "-m", "isaaclab", "train", "--rl_library", "rsl_rl", "--device", "cpu"]
    command += ["--task", args.task, "--seed", str(args.seed), "--max_iterations", str(args.iterations)]
    command += ["agent.algorithm.class_name=heldout_surrogate:HeldOutPPO", *overrides]
    path = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    found: list[list[float]] = []
    with tempfile.TemporaryDirectory() as folder:
        program = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert program.stdout is not None
        last: list[str] = []
        for line in program.stdout:
            last = [*last[-20:], line]
            if line.startswith("surrogate gain"):
                print(line, end="", flush=True)
                found.append([float(number) for number in re.findall(r"-?\d+\.\d+", line)])
        if program.wait() != 0 or not found:
            raise SystemExit("".join(last))
    for column, name in ((0, NAMES[0]), (2, NAMES[1])):
        gains = torch.tensor([row[column] for row in found])
        print(f"{name}: {gains.mean():.4f} +- {gains.std() / len(gains) ** 0.5:.4f} over {len(gains)} updates")


if __name__ == "__main__":
    main()
