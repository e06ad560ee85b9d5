# SPDX-License-Identifier: BSD-3-Clause
"""What flow_sde's few steps, and its approximate likelihoods, do to a real policy: spread, gradients, KL.

    python source/standalone/benchmarks/flow_statistics.py --task Gr00t-Push-Cube-Franka

Plays one iteration through Isaac Lab's own ``train`` with the task's agent, and at some of the states that were decided
in, all statistics being of the executed actions:

- ``spread``: the standard deviation of the actions that the SDE's chain gives over that of the ODE's, both over the
  initial noise as well: 1 if the marginals were the same. Of all actions together (root mean square), and the median of
  single numbers' own;
- ``gradient``: the cosine between the policy gradient that the likelihood gives, E[f grad log p], and the true one, for
  the mean f of random linear functions of the actions. The true one is found by differentiating the sampled chain
  itself. Both are means of independent parts, whose products with each other estimate lengths without bias;
- ``KL``: of one random step over that of all, after the same small change of the weights.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from gr00t_rl.algorithms import PPO
from gr00t_rl.flow import FlowHead, FlowSde, Transitions, VelocityFn, chain_kl, chain_log_prob

MARK = "statistics of "
STATES, DRAWS, PARTS = 16, 16, 16
"""States, chains per state and part, and parts."""


class Counted(NamedTuple):
    """The executed part of a chunk."""

    steps: int
    dims: int

    def of(self, x: torch.Tensor) -> torch.Tensor:
        """Select it from [..., H, A]; a length of 1 stands for all."""
        x = x if x.shape[-2] == 1 else x[..., : self.steps, :]
        return x if x.shape[-1] == 1 else x[..., : self.dims]


@torch.no_grad()
def spread(
    head: FlowHead, velocity: VelocityFn, x0: torch.Tensor, executed: Counted, states: int
) -> tuple[float, float]:
    """Return std of sampled actions over std of the ODE's, over the draws of each state.

    Of all numbers together (root mean square), and the median of each number's own ratio.

    Args:
        head: Samples the chain.
        velocity: The field of all rows.
        x0: Initial noise [states * draws, H, A], draws of a state together.
        executed: What is compared.
        states: Number of states.
    """
    sampled, ode = head.sample(velocity, x0).actions, head.integrate(velocity, x0)
    of_sampled, of_ode = (executed.of(a).unflatten(0, (states, -1)).var(dim=1) for a in (sampled, ode))
    return (of_sampled.mean() / of_ode.mean()).sqrt().item(), (of_sampled / of_ode).median().sqrt().item()


def gradients(
    head: FlowSde,
    velocity: VelocityFn,
    x0: torch.Tensor,
    direction: torch.Tensor,
    parameters: list[torch.Tensor],
    executed: Counted,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return gradients [P] of E[f] for f = <direction, executed actions>: the true one, by "chain" and by "executed".

    Args:
        head: Samples the chain.
        velocity: The field of all rows, differentiable in ``parameters``.
        x0: Initial noise [states * draws, H, A], draws of a state together.
        direction: One linear function per state, [states, n, A'].
        parameters: Weights.
        executed: The steps n and dimensions A' of ``direction``.
    """
    states = len(direction)
    sample = head.sample(velocity, x0)
    f = (executed.of(sample.actions).unflatten(0, (states, -1)) * direction[:, None]).flatten(2).sum(-1)
    true = _gradient(f.mean(), parameters)
    f = f.detach()
    # each draw against the mean of the others of its state
    advantage = (f - f.mean(1, keepdim=True)) * f.shape[1] / (f.shape[1] - 1)
    fixed = Transitions(*(part.detach() for part in sample.transitions))
    found = []
    for count in (lambda x: x, executed.of):
        mean, std = head.distribution(velocity, fixed)
        log_prob = chain_log_prob(count(fixed.x_next), count(mean), count(std))
        surrogate = (log_prob * advantage.flatten()).mean()
        found.append(_gradient(surrogate, parameters))
    return true, found[0], found[1]


def _gradient(value: torch.Tensor, parameters: list[torch.Tensor]) -> torch.Tensor:
    parts = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def cosine(a: torch.Tensor, b: torch.Tensor) -> tuple[float, float]:
    """Return the cosine between the expectations of ``a`` and ``b``, and its standard error (jackknife).

    Args:
        a: Estimates of one vector, [parts, P], of independent parts.
        b: Estimates of the other, [parts, P], of the same parts.
    """
    aa, bb, ab = a @ a.T, b @ b.T, a @ b.T
    off = ~torch.eye(len(a), dtype=torch.bool)

    def value(kept: torch.Tensor) -> float:
        mask = off & kept[:, None] & kept
        length = (aa[mask].mean() * bb[mask].mean()).clamp_min(1e-30).sqrt()
        return (ab[mask].mean() / length).item()

    parts = len(a)
    left_out = torch.tensor([value(torch.arange(parts) != i) for i in range(parts)])
    error = ((parts - 1) / parts * (left_out - left_out.mean()).square().sum()).sqrt().item()
    return value(torch.ones(parts, dtype=torch.bool)), error


@torch.no_grad()
def divergence(
    head: FlowSde, velocity: VelocityFn, x0: torch.Tensor, executed: Counted, change: Callable[[float], None]
) -> float:
    """Return the mean KL(old || changed) of a decision's random steps; ``change`` adds a change, or takes it back."""
    sample = head.sample(velocity, x0)
    change(1.0)
    mean, std = head.distribution(velocity, sample.transitions)
    change(-1.0)
    return chain_kl(*map(executed.of, (sample.mean, sample.std, mean, std))).mean().item()


class MeasuredPPO(PPO):
    """PPO that measures its policy instead of learning."""

    def update(self) -> dict[str, float]:
        """Print a line for each statistic."""
        with torch.inference_mode(False), torch.enable_grad():
            self._measure()
        return {}

    def _measure(self) -> None:
        actor = self.actor
        states = torch.randperm(len(self.batch))[:STATES].repeat_interleave(DRAWS)
        observed = self.batch[states].clone()
        executed, steps = Counted(actor.n_action_steps, actor.action_dim), actor.head.num_steps  # type: ignore
        velocity = actor.velocity_field(observed).velocity  # type: ignore
        chain, spent = (len(states), *actor.chunk_shape), 1.0  # type: ignore
        print(f"{MARK}{STATES} states, K = {steps}, executed {executed.steps} x {executed.dims} of {chain[1:]}")
        heads = [(a, s, f) for f in ("second_step", "published") for a in (0.5, 1.0) for s in ("one", "all")]
        for level, random_steps, first in heads:
            head = FlowSde(steps, level, random_steps, first)
            found = [spread(head, velocity, torch.randn(chain), executed, STATES) for _ in range(8)]
            of_all, median = (sum(column) / 8 for column in zip(*found, strict=True))
            text = f"{of_all:.2f}, median of single numbers {median:.2f}"
            print(f"{MARK}spread, a = {level}, {random_steps}, {first}: {text}", flush=True)
        direction = torch.randn(STATES, executed.steps, executed.dims)
        for random_steps in ("one", "all"):
            head, rows = FlowSde(steps, 1.0, random_steps), []
            for _ in range(PARTS):
                field = actor.velocity_field(observed).velocity  # type: ignore
                rows.append(gradients(head, field, torch.randn(chain), direction, self.actor_parameters, executed))
            true, whole, part = (torch.stack(column) for column in zip(*rows, strict=True))
            for name, other in (("chain", whole), ("executed", part)):
                value, error = cosine(true, other)
                print(f"{MARK}gradient, a = 1.0, {random_steps}, {name}: {value:.3f} +- {error:.3f}", flush=True)
        shift = [1e-3 * torch.randn_like(p) * p.std().nan_to_num(0.0) for p in self.actor_parameters]

        def change(sign: float) -> None:
            for parameter, step in zip(self.actor_parameters, shift, strict=True):
                parameter.data.add_(step, alpha=sign * spent)

        def kl(random_steps: str) -> float:
            head = FlowSde(steps, 1.0, random_steps)
            field = lambda x, k: actor.velocity_field(observed).velocity(x, k)  # noqa: E731  # type: ignore
            return sum(divergence(head, field, torch.randn(chain), executed, change) for _ in range(8))

        print(f"{MARK}KL of one step over that of all {steps}: {kl('one') / kl('all'):.3f}", flush=True)


def main() -> None:
    """Run one iteration and show what it printed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="Gr00t-Push-Cube-Franka")
    parser.add_argument("--num_envs", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    args, overrides = parser.parse_known_args()
    command = [sys.executable, "-m", "isaaclab", "train", "--rl_library", "rsl_rl", "--device", "cpu"]
    command += ["--task", args.task, "--num_envs", str(args.num_envs), "--seed", str(args.seed)]
    command += ["--max_iterations", "1", "agent.algorithm.class_name=flow_statistics:MeasuredPPO", *overrides]
    path = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
        )
    lines = [line.removeprefix(MARK) for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode != 0 or not lines:
        raise SystemExit(f"{done.stdout[-1500:]}\n{done.stderr[-1500:]}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
