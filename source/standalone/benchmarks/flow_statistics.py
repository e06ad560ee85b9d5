# SPDX-License-Identifier: BSD-3-Clause
"""What flow_sde's few steps, and its approximate likelihoods, do to a real policy: spread, gradients, KL.

    python source/standalone/benchmarks/flow_statistics.py --task Gr00t-Push-Cube-Franka

Plays one iteration through Isaac Lab's own ``train`` with the task's agent, and at some of the states that were decided
in, all statistics being of the executed actions:

- ``spread``: the standard deviation of the actions that the SDE's chain gives over that of the ODE's, both over the
  initial noise as well: 1 if the marginals were the same. Of all actions together (root mean square), and the median of
  single numbers' own;
- ``gradient``: the cosine between the expected policy gradient that the likelihood gives, E[f grad log p], and the true
  one, grad E[f], for a random linear function f of each state's actions;
- ``KL``: of one random step over that of all, after the same small change of the weights.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gr00t_rl.algorithms import PPO
from gr00t_rl.flow import FlowHead, FlowSde, VelocityFn, chain_kl

MARK = "statistics of "
STATES, DRAWS, PARTS = 16, 32, 8
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
    parameters: Sequence[torch.Tensor],
    executed: Counted,
) -> dict[str, torch.Tensor]:
    """Return expected policy gradients [P] for f = <direction, executed actions>, by what the likelihood counts.

    The noise eps of a counted number of a random step with mean m and standard deviation s contributes
    E[f grad m eps / s] to E[f grad log p], which is E[df/dx' grad m], x' being the number reached (Stein's lemma: m
    does not depend on eps). So that no score has to be averaged: it is the gradient by backpropagation through the
    chain, in which only what is counted passes the weights. "true" counts all numbers of all steps, "chain" those of
    the random steps, "executed" the executed ones of these.

    Args:
        head: Of the chain.
        velocity: The field of all rows, differentiable in ``parameters``.
        x0: Initial noise [B, H, A].
        direction: One linear function per row, [B, n, A'].
        parameters: Weights.
        executed: The steps n and dimensions A' of ``direction``.
    """
    batch, steps = len(x0), head.num_steps
    chosen = torch.randint(steps, (batch, 1, 1, 1)) if head.stochastic_steps == "one" else None
    with torch.no_grad():
        noise = [torch.randn_like(x0).unsqueeze(1) for _ in range(steps)]

    def move(x: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the mean of the next state, its standard deviation, and which rows are random there."""
        step = torch.full((batch, 1), k, dtype=torch.long)
        v = velocity(x, step)
        mean, std = head.transition(x, v, step)
        random = torch.ones(batch, 1, 1, 1) if chosen is None else (chosen == k).float()
        return random * mean + (1.0 - random) * (x + v / steps), random * std, random

    states = [x0.unsqueeze(1)]
    for k in range(steps):
        mean, std, _ = move(states[-1], k)
        states.append(mean + std * noise[k])
    f = (executed.of(states[-1].squeeze(1)) * direction).sum() / batch
    slopes = torch.autograd.grad(f, states[1:], retain_graph=True)
    counted = torch.zeros_like(x0[:1, None])
    executed.of(counted).fill_(1.0)
    sums = {"true": torch.zeros(()), "chain": torch.zeros(()), "executed": torch.zeros(())}
    for k in range(steps):
        mean, _, random = move(states[k].detach(), k)
        for name, mask in (("true", 1.0), ("chain", random), ("executed", random * counted)):
            sums[name] = sums[name] + (slopes[k] * mask * mean).sum()
    return {name: _gradient(value, parameters) for name, value in sums.items()}


def _gradient(value: torch.Tensor, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
    parts = torch.autograd.grad(value, list(parameters), retain_graph=True, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def cosine(a: torch.Tensor, b: torch.Tensor) -> tuple[float, float]:
    """Return the cosine between the means of ``a`` and ``b`` [parts, P], and its standard error (jackknife)."""
    parts = len(a)
    whole = torch.cosine_similarity(a.mean(0), b.mean(0), dim=0).item()
    left_out = torch.cosine_similarity(a.sum(0) - a, b.sum(0) - b, dim=1)
    error = ((parts - 1) / parts * (left_out - left_out.mean()).square().sum()).sqrt().item()
    return whole, error


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
        actor: Any = self.actor
        states = torch.randperm(len(self.batch))[:STATES].repeat_interleave(DRAWS)
        observed = self.batch[states].clone()
        executed, steps = Counted(actor.n_action_steps, actor.action_dim), actor.head.num_steps
        velocity = actor.velocity_field(observed).velocity
        chain, spent = (len(states), *actor.chunk_shape), 1.0
        print(f"{MARK}{STATES} states, K = {steps}, executed {executed.steps} x {executed.dims} of {chain[1:]}")
        heads = [(a, s, f) for f in ("second_step", "published") for a in (0.5, 1.0) for s in ("one", "all")]
        for level, random_steps, first in heads:
            head = FlowSde(steps, level, random_steps, first)
            found = [spread(head, velocity, torch.randn(chain), executed, STATES) for _ in range(8)]
            of_all, median = (sum(column) / 8 for column in zip(*found, strict=True))
            text = f"{of_all:.2f}, median of single numbers {median:.2f}"
            print(f"{MARK}spread, a = {level}, {random_steps}, {first}: {text}", flush=True)
        direction = torch.randn(STATES, executed.steps, executed.dims).repeat_interleave(DRAWS, dim=0)
        for level, random_steps in ((a, s) for a in (0.5, 1.0) for s in ("one", "all")):
            head, parts = FlowSde(steps, level, random_steps), []
            for _ in range(PARTS):
                field = actor.velocity_field(observed).velocity
                parts.append(gradients(head, field, torch.randn(chain), direction, self.actor_parameters, executed))
            true, *others = (torch.stack([part[name] for part in parts]) for name in ("true", "chain", "executed"))
            texts = []
            for name, other in zip(("chain", "executed"), others, strict=True):
                value, error = cosine(true, other)
                texts.append(f"{name} {value:.3f} +- {error:.3f}")
            print(f"{MARK}gradient, a = {level}, {random_steps}: {', '.join(texts)}", flush=True)
        shift = [1e-3 * torch.randn_like(p) * p.std().nan_to_num(0.0) for p in self.actor_parameters]

        def change(sign: float) -> None:
            for parameter, step in zip(self.actor_parameters, shift, strict=True):
                parameter.data.add_(step, alpha=sign * spent)

        def kl(random_steps: str) -> float:
            head = FlowSde(steps, 1.0, random_steps)
            field = lambda x, k: actor.velocity_field(observed).velocity(x, k)  # noqa: E731
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
