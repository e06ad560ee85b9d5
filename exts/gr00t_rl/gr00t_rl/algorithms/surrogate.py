# SPDX-License-Identifier: BSD-3-Clause
"""What PPO and GRPO share: epochs of clipped-surrogate steps over the decisions of one iteration."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import chain
from typing import Any

import torch
import torch.distributed as dist
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import nn

from ..models.policy import PolicyEvaluation
from ..options import SurrogateOptions
from ..utils.rsl_rl_versions import reduce_gradients_in_buckets
from .base import DecisionAlgorithm
from .guard import NonFiniteGuard
from .losses import approx_kl, clipped_surrogate
from .mini_batches import every, num_units, shuffled, split
from .schedules import RateController


class ClippedSurrogate(DecisionAlgorithm):
    """Minibatch steps on the clipped surrogate; a sub-class brings the advantages and what else is in its loss.

    Args:
        actor: See :class:`DecisionAlgorithm`.
        critic: See :class:`DecisionAlgorithm`.
        env: See :class:`DecisionAlgorithm`.
        obs_groups: See :class:`DecisionAlgorithm`.
        num_steps: Env steps per iteration.
        options: See :class:`~gr00t_rl.options.SurrogateOptions`.
        device: Device of models and storage.
        multi_gpu_cfg: rsl_rl's description of the process group, or None.
        max_iterations: Length of the annealing schedules; without one, rates stay as they are.
    """

    def __init__(
        self,
        actor: nn.Module,
        critic: nn.Module | None,
        env: VecEnv,
        obs_groups: dict[str, list[str]],
        num_steps: int,
        options: SurrogateOptions,
        device: str = "cpu",
        multi_gpu_cfg: dict | None = None,
        max_iterations: int | None = None,
    ) -> None:
        super().__init__(actor, critic, env, obs_groups, num_steps, options, device, multi_gpu_cfg)
        # fused: the same steps in one kernel; small networks spend a quarter of an update in the loop over parameters
        self.optimizer = torch.optim.Adam(self._parameter_groups(), eps=options.adam_eps, fused=True)
        self.rates = RateController(self.optimizer, self._schedules(), max_iterations, options.desired_kl)
        self.guard = NonFiniteGuard(options.max_nonfinite_steps, getattr(env.cfg, "log_dir", None), self.rescue)
        self.batch: TensorDict

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimiser's groups: the actor's parameters, and the critic's where there is one."""
        return [{"params": self.actor_parameters, "lr": self.options.learning_rate}]

    def _schedules(self) -> tuple[str, ...]:
        """Return the schedule of each group's rate."""
        return (self.options.schedule,)

    def load(self, loaded_dict: dict[str, Any], load_cfg: dict | None, strict: bool) -> bool:
        """Restore what :meth:`save` returned, see :class:`DecisionAlgorithm`; annealing ends with the new run."""
        resumed = super().load(loaded_dict, load_cfg, strict)
        if resumed:
            self.rates.resume_at(self.iteration)
        return resumed

    # -- what sub-classes fill in ----------------------------------------------------------------------------------

    def _prepare(self, batch: TensorDict) -> TensorDict:
        """Return the decisions to learn from, with their final advantages; none at all skips the update."""
        return batch

    def _loss(self, terms: dict[str, torch.Tensor]) -> torch.Tensor:
        """Combine the terms of :meth:`_loss_terms` into the loss of each decision [B]."""
        raise NotImplementedError

    def _diagnostics(self, batch: TensorDict) -> dict[str, float]:
        """Return further metrics of the iteration, from the decisions that were learned from."""
        return {}

    @property
    def _warming_up(self) -> bool:
        """Whether the actor does not learn yet."""
        return False

    # -- the update ------------------------------------------------------------------------------------------------

    def update(self) -> dict[str, float]:
        """Run the epochs over the iteration's decisions and return the metrics."""
        start = time.perf_counter()
        if self.memory is not None:
            self.batch = self.memory.in_sequence(self.batch)
        # tensors of the rollout are inference tensors; indexing them here gives tensors that autograd may record
        if self.options.recompute_log_probs:
            self._recompute_log_probs(self.batch)
        batch = self._prepare(self.batch)
        self.rates.begin_iteration(self.iteration)
        metrics = self._run_epochs(batch)
        metrics |= self._diagnostics(batch)
        if "adaptive" in self.rates.schedules and not self._warming_up and len(batch) > 0:
            metrics["final_kl"] = self._final_kl(batch)
            self.rates.end_iteration(metrics["final_kl"])
        metrics["nonfinite_steps"] = float(self.guard.total)
        metrics["nonfinite_envs"] = float(self.quarantine.count)
        metrics |= self._seconds() | {"perf/update": time.perf_counter() - start}
        metrics["perf/decisions"] = float(len(self.batch))
        if torch.device(self.device).type == "cuda":
            metrics["perf/peak_memory_gb"] = torch.cuda.max_memory_allocated(self.device) / 2**30
        self._end_iteration(self.batch)
        return metrics

    def _run_epochs(self, batch: TensorDict) -> dict[str, float]:
        """Take the optimiser steps of one iteration and return the mean of their metrics."""
        rows, env = torch.arange(len(batch), device=self.device), self._env_of(batch)
        num_mini_batches = self._agreed_mini_batches(num_units(rows, env))
        if num_mini_batches == 0:
            return {}
        totals: dict[str, torch.Tensor] = {}
        num_steps, stopped = 0, False
        for _ in range(self.options.num_learning_epochs):
            for index in shuffled(rows, num_mini_batches, env):
                metrics = self._minibatch_step(batch[index])
                if metrics is None:
                    continue
                for name, value in metrics.items():
                    totals[name] = totals.get(name, 0.0) + value
                num_steps += 1
                if (
                    self.options.target_kl is not None
                    and self._over_ranks(metrics["approx_kl"]).item() > self.options.target_kl
                ):
                    stopped = True
                    break
            if stopped:
                break
        means = {name: (total / num_steps).item() for name, total in totals.items()}
        return means | ({"optimizer_steps": float(num_steps)} if self.options.target_kl is not None else {})

    def _agreed_mini_batches(self, num_decisions: int) -> int:
        """Return the number of minibatches; alike on all ranks, which would wait for each other's gradients forever."""
        number = min(self.options.num_mini_batches, num_decisions)
        if self.gpu_world_size == 1:
            return number
        least = torch.tensor(number, device=self.device)
        dist.all_reduce(least, dist.ReduceOp.MIN)
        return int(least)

    def _minibatch_step(self, minibatch: TensorDict) -> dict[str, torch.Tensor] | None:
        """Take one optimiser step; the gradient of all micro-batches together is that of the whole minibatch.

        Returns:
            The metrics, or None if the gradient was not finite and no step was taken.
        """
        self.optimizer.zero_grad()
        if self.rnd is not None:
            self.rnd.optimizer.zero_grad()
        sums: dict[str, torch.Tensor] = {}
        for micro in self._split(minibatch, self.options.micro_batch_size or len(minibatch)):
            terms = self._loss_terms(micro)
            (self._loss(terms).sum() / len(minibatch)).backward()
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.detach().sum()
        if self.gpu_world_size > 1:
            reduced = chain(self.parameters(), self.rnd.predictor.parameters() if self.rnd is not None else ())
            reduce_gradients_in_buckets(reduced, self.gpu_world_size, self.options.grad_reduce_bucket_mb)
        grad_norm = nn.utils.clip_grad_norm_(self.parameters(), self.options.max_grad_norm)
        if not self.guard.allows(grad_norm, minibatch, self.iteration):
            return None
        self._optimizer_step()
        metrics = {name: total / len(minibatch) for name, total in sums.items()}
        metrics["grad_norm"] = grad_norm.detach()
        return metrics

    def _optimizer_step(self) -> None:
        """Step the optimisers."""
        self.optimizer.step()
        if self.rnd is not None:
            self.rnd.optimizer.step()

    def _loss_terms(self, micro: TensorDict) -> dict[str, torch.Tensor]:
        """Return the losses and diagnostics of each stored decision, every entry [B]."""
        micro = self.policy.restore(micro)
        return self._policy_terms(micro, self.policy.evaluate(micro))

    def _policy_terms(self, micro: TensorDict, policy: PolicyEvaluation) -> dict[str, torch.Tensor]:
        """Return the clipped surrogate, the entropy and how far the policy has moved, every entry [B]."""
        log_ratio = policy.log_prob - micro["log_prob"]
        ratio = log_ratio.exp()
        high = self.options.clip_param if self.options.clip_param_high is None else self.options.clip_param_high
        clipped = (ratio.detach() < 1.0 - self.options.clip_param) | (ratio.detach() > 1.0 + high)
        return {
            "policy": clipped_surrogate(
                ratio, micro["advantage"], self.options.clip_param, self.options.clip_param_high, self.options.dual_clip
            ),
            "entropy": policy.entropy,
            "approx_kl": approx_kl(log_ratio.detach()),
            "clipfrac": clipped.float(),
        }

    @torch.no_grad()
    def _recompute_log_probs(self, batch: TensorDict) -> None:
        """Replace the stored log-probabilities by those that the update's own batch shape gives."""
        size = self._pass_size(batch)
        batch["log_prob"] = torch.cat([self._evaluate(m).log_prob for m in self._split(batch, size)])

    @torch.no_grad()
    def _final_kl(self, batch: TensorDict) -> float:
        """Return KL(old || new) after the last step, in closed form on a minibatch's worth of rows, over all ranks."""
        rows = torch.arange(len(batch), device=self.device)
        sample = batch[every(self.options.num_mini_batches, rows, self._env_of(batch))]  # rows of all times
        pieces = self._split(sample, self.options.micro_batch_size or len(sample))
        sums = [self._evaluate(m).kl.sum() for m in pieces]
        return self._over_ranks(torch.stack(sums).sum() / len(sample)).item()

    def _pass_size(self, batch: TensorDict) -> int:
        """Return the number of decisions of one forward pass over all of ``batch``."""
        return self.options.micro_batch_size or -(-len(batch) // self.options.num_mini_batches)

    def _split(self, batch: TensorDict, size: int) -> Iterable[TensorDict]:
        """Return pieces of about ``size`` decisions, in order."""
        return split(batch, size, self._env_of(batch))

    def _env_of(self, batch: TensorDict) -> torch.Tensor | None:
        """Return the env of each decision [B] if what an env did must stay together: where a model is recurrent."""
        return None if self.memory is None else self.memory.env_of(batch)

    def _evaluate(self, stored: TensorDict) -> PolicyEvaluation:
        return self.policy.evaluate(self.policy.restore(stored))

    def _over_ranks(self, value: torch.Tensor) -> torch.Tensor:
        """Return the mean of a scalar over all ranks, so that all decide alike."""
        if self.gpu_world_size == 1:
            return value
        value = value.clone()
        dist.all_reduce(value)
        return value / self.gpu_world_size
