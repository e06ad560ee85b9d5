# SPDX-License-Identifier: BSD-3-Clause
"""How much of a policy gradient is signal: for several ways to credit decisions, on one rollout.

    python source/standalone/benchmarks/gradient_snr.py --task Gr00t-Push-Cube-Franka --num_envs 1024
    python source/standalone/benchmarks/gradient_snr.py --task Gr00t-Push-Cube-Franka-Camera --num_envs 512 \
        agent.actor.head=flow_sde agent.actor.noise_level=1.0

Plays one episode per env, in groups that start alike, through Isaac Lab's own ``train`` with the task's GRPO agent, and
takes the gradient of E[r A] at r = 1 apart for each of 32 parts of the groups. Gradients g, g' of different parts share
nothing but their expectation G, so that the mean of <g, g'> estimates |G|^2 without bias, and that of |g|^2 less it the
noise. Printed are, with the standard error over parts:

- ``SNR``: |G|^2 over the noise of the whole rollout's gradient; below 1 an update mostly follows noise;
- ``noise scale``: the decisions for which they are equal, B = tr(Sigma) / |G|^2 (McCandlish et al., arXiv 1812.06162,
  eq. 2.8); "-" where no signal stands out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from gr00t_rl.algorithms import GRPO
from gr00t_rl.algorithms.advantages import decision_advantages, group_advantages
from gr00t_rl.algorithms.returns import semi_mdp_gae

PARTS = 32
"""Parts of the rollout whose gradients are compared."""
GAMMAS = (1.0, 0.995, 0.99, 0.975, 0.95)
"""Discounts per env step of the rewards to go; within a decision nothing is discounted."""
MARK = "gradient of "


class MeasuredGRPO(GRPO):
    """GRPO that measures its gradient instead of learning."""

    def update(self) -> dict[str, float]:
        """Print a line for each way to credit decisions."""
        success, returns = self.episodes.success.float().mean(), self.episodes.rewards.mean()
        print(f"{MARK}{len(self.batch)} decisions: success {success:.3f}, return {returns:.3f}", flush=True)
        with torch.inference_mode(False), torch.enable_grad():
            batch = self.batch.clone()  # what the rollout made are inference tensors
            part = batch["episode"] // self.options.group_size % PARTS
            for name, advantages in self._credits().items():
                batch["advantage"] = advantages.clone()
                gradients = torch.stack([self._gradient(batch[part == p]) for p in range(PARTS)])
                print(f"{MARK}{name}: {describe(gradients, len(batch))}", flush=True)
        return {}

    def _credits(self) -> dict[str, torch.Tensor]:
        """Return the advantages [B] of the stored decisions, by name."""
        st, rows = self.storage, self.storage.rows
        by_episode = group_advantages(self.episodes.rewards.view(-1, self.options.group_size)).view(-1)
        found = {"episode": by_episode[rows % self.env.num_envs]}
        nothing = torch.zeros_like(st.rewards)
        for gamma in GAMMAS:
            discounts = gamma**st.durations * (st.discounts > 0)
            to_go = semi_mdp_gae(st.rewards, nothing, discounts, st.valid, nothing[0], lam=1.0)
            advantages = decision_advantages(to_go, st.valid, self.options.group_size)
            found[f"reward_to_go, gamma {gamma}"] = advantages.view(-1)[rows]
        return found

    def _gradient(self, part) -> torch.Tensor:
        """Return the gradient of the mean of r A over decisions, flattened [P]."""
        log_ratio = self._evaluate(part).log_prob - part["log_prob"]
        surrogate = (log_ratio.exp() * part["advantage"]).mean()
        gradients = torch.autograd.grad(surrogate, self.actor_parameters, allow_unused=True, materialize_grads=True)
        return torch.cat([gradient.flatten() for gradient in gradients])


def describe(gradients: torch.Tensor, decisions: int) -> str:
    """Return the signal-to-noise ratio of the mean of ``gradients`` [PARTS, P] and the noise scale, as text."""
    products = gradients @ gradients.T
    own = products.diagonal()
    others = (products.sum(1) - own) / (PARTS - 1)  # of each part with the rest
    signal, error = others.mean(), others.std() / PARTS**0.5
    noise = (own.mean() - signal) / PARTS
    scale = f"{decisions * noise / signal:,.0f} decisions" if signal > error else "-"
    return f"SNR {signal / noise:.2f} +- {error / noise:.2f}, noise scale {scale}"


def main() -> None:
    """Run one iteration and show what it printed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True)
    parser.add_argument("--num_envs", type=int, default=512, help="a multiple of 8 times 32")
    parser.add_argument("--seed", type=int, default=1)
    args, overrides = parser.parse_known_args()
    command = [sys.executable, "-m", "isaaclab", "train", "--rl_library", "rsl_rl", "--device", "cpu"]
    command += ["--task", args.task, "--agent", "rsl_rl_grpo_cfg_entry_point", "--num_envs", str(args.num_envs)]
    command += ["--seed", str(args.seed), "--max_iterations", "1", "agent.algorithm.gamma=1.0"]
    command += ["agent.algorithm.class_name=gradient_snr:MeasuredGRPO", *overrides]
    path = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
        )
    lines = [line.removeprefix(MARK) for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode != 0 or len(lines) < len(GAMMAS) + 2:
        raise SystemExit(f"{done.stdout[-1500:]}\n{done.stderr[-1500:]}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
