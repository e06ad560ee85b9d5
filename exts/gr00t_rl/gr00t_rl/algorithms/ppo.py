# SPDX-License-Identifier: BSD-3-Clause
"""Proximal policy optimisation over decisions: one env step of an MLP, or an action chunk of GR00T."""

from __future__ import annotations

import time
from functools import partial
from itertools import chain
from typing import Any

import torch
import torch.distributed as dist
from rsl_rl.env import VecEnv
from rsl_rl.utils import reduce_gradients_in_buckets
from tensordict import TensorDict
from torch import nn

from ..models.policy import PolicyEvaluation
from .base import DecisionAlgorithm
from .guard import NonFiniteGuard
from .losses import approx_kl, clipped_surrogate, explained_variance, value_loss
from .resume import write_checkpoint
from .returns import normalize, semi_mdp_gae
from .schedules import RateController


class PPO(DecisionAlgorithm):
    """PPO (Schulman et al., arXiv 1707.06347) for policies whose decisions last one or several env steps.

    Args:
        actor: See :class:`DecisionAlgorithm`.
        critic: See :class:`DecisionAlgorithm`.
        env: See :class:`DecisionAlgorithm`.
        obs_groups: See :class:`DecisionAlgorithm`.
        num_steps: Env steps per iteration.
        num_learning_epochs: Passes over the iteration's decisions, each in a new order.
        num_mini_batches: Minibatches per pass; every decision is in one of them.
        micro_batch_size: Decisions per forward pass; minibatches are accumulated from pieces of this size.
        gamma: Discount per env step.
        lam: GAE's lambda per decision.
        clip_param: Clipping range of the ratio: eps, and below 1 where ``clip_param_high`` is set.
        clip_param_high: Clipping range above 1.
        dual_clip: Bound of the loss for negative advantages, more than 1.
        normalize_advantage: Whether to normalise advantages, over the batch and all ranks.
        normalize_advantage_per_mini_batch: Normalise them in each minibatch instead.
        value_loss_coef: Weight of the value loss.
        use_clipped_value_loss: Whether to clip the value's change by ``clip_param`` as well.
        huber_delta: Error beyond which the value loss grows linearly.
        entropy_coef: Weight of the entropy bonus.
        num_critic_warmup_iterations: First iterations in which only the critic learns.
        target_kl: Approximate KL of a minibatch beyond which the iteration's update ends.
        recompute_log_probs: Whether to recompute the old log-probabilities in the update's own batch shape before the
            first step, so that the ratio starts at exactly 1 where kernels depend on the shape (bf16 on a GPU).
        learning_rate: Learning rate of the actor.
        critic_learning_rate: Learning rate of the critic; the actor's where None.
        schedule: Schedule of the actor's rate: "fixed", "linear", "cosine" or "adaptive" (towards ``desired_kl``).
        critic_schedule: Schedule of the critic's rate; the actor's where None, but fixed if that is adaptive.
        desired_kl: Target of KL(old || new) per iteration for the adaptive schedule.
        max_grad_norm: Bound of the global gradient norm, over actor and critic together.
        adam_eps: Adam's epsilon; 1e-5 as in the original implementation (with PyTorch's 1e-8 first steps are larger).
        reward_scaling: Whether to divide rewards by the running standard deviation of the discounted return.
        reward_clip: Bound of scaled rewards.
        max_nonfinite_steps: Non-finite gradients in a row after which the run stops.
        max_iterations: Length of the annealing schedules.
        rnd_cfg: See :class:`DecisionAlgorithm`.
        device: Device of models and storage.
        multi_gpu_cfg: rsl_rl's description of the process group, or None.
        grad_reduce_bucket_mb: Size of the pieces in which gradients are averaged over ranks.
    """

    def __init__(
        self,
        actor: nn.Module,
        critic: nn.Module,
        env: VecEnv,
        obs_groups: dict[str, list[str]],
        num_steps: int,
        *,
        num_learning_epochs: int = 5,
        num_mini_batches: int = 4,
        micro_batch_size: int | None = None,
        gamma: float = 0.99,
        lam: float = 0.95,
        clip_param: float = 0.2,
        clip_param_high: float | None = None,
        dual_clip: float | None = None,
        normalize_advantage: bool = True,
        normalize_advantage_per_mini_batch: bool = False,
        value_loss_coef: float = 0.5,
        use_clipped_value_loss: bool = False,
        huber_delta: float | None = None,
        entropy_coef: float = 0.0,
        num_critic_warmup_iterations: int = 0,
        target_kl: float | None = None,
        recompute_log_probs: bool = False,
        learning_rate: float = 3e-4,
        critic_learning_rate: float | None = None,
        schedule: str = "linear",
        critic_schedule: str | None = None,
        desired_kl: float = 0.01,
        max_grad_norm: float = 0.5,
        adam_eps: float = 1e-5,
        reward_scaling: bool = False,
        reward_clip: float = 10.0,
        max_nonfinite_steps: int = 10,
        max_iterations: int = 1,
        rnd_cfg: dict | None = None,
        device: str = "cpu",
        multi_gpu_cfg: dict | None = None,
        grad_reduce_bucket_mb: float = 25.0,
    ) -> None:
        super().__init__(
            actor,
            critic,
            env,
            obs_groups,
            num_steps,
            gamma,
            reward_scaling,
            reward_clip,
            device,
            multi_gpu_cfg,
            rnd_cfg,
        )
        self.grad_reduce_bucket_mb = grad_reduce_bucket_mb
        self.num_learning_epochs, self.num_mini_batches = num_learning_epochs, num_mini_batches
        self.micro_batch_size, self.lam = micro_batch_size, lam
        self.clip_param, self.clip_param_high, self.dual_clip = clip_param, clip_param_high, dual_clip
        self.normalize_batch = normalize_advantage and not normalize_advantage_per_mini_batch
        self.normalize_minibatch = normalize_advantage and normalize_advantage_per_mini_batch
        self.value_loss_coef, self.entropy_coef = value_loss_coef, entropy_coef
        self.value_clip, self.huber_delta = clip_param if use_clipped_value_loss else None, huber_delta
        self.num_critic_warmup_iterations = num_critic_warmup_iterations
        self.target_kl, self.recompute_log_probs = target_kl, recompute_log_probs
        self.max_grad_norm = max_grad_norm
        critic_rate = learning_rate if critic_learning_rate is None else critic_learning_rate
        groups = [
            {"params": self.actor_parameters, "lr": learning_rate},
            {"params": self.critic_parameters, "lr": critic_rate},
        ]
        # fused: the same steps in one kernel; small networks spend a quarter of an update in the loop over parameters
        self.optimizer = torch.optim.Adam(groups, eps=adam_eps, fused=True)
        inherited = "fixed" if schedule == "adaptive" else schedule
        self.rates = RateController(
            self.optimizer, (schedule, critic_schedule or inherited), max_iterations, desired_kl
        )
        is_first_rank = multi_gpu_cfg is None or multi_gpu_cfg["global_rank"] == 0
        save = partial(write_checkpoint, self) if is_first_rank else None
        self.guard = NonFiniteGuard(max_nonfinite_steps, getattr(env.cfg, "log_dir", None), save)

    def load(self, loaded_dict: dict[str, Any], load_cfg: dict | None, strict: bool) -> bool:
        """Restore what :meth:`save` returned, see :class:`DecisionAlgorithm`; annealing ends with the new run."""
        resumed = super().load(loaded_dict, load_cfg, strict)
        if resumed:
            self.rates.resume_at(self.iteration)
        return resumed

    def compute_returns(self, obs: TensorDict) -> None:
        """End all running decisions with the value of ``obs`` and compute advantages and returns."""
        st = self.storage
        advantages = semi_mdp_gae(st.rewards, st.values, st.discounts, st.valid, self._value(obs), self.lam)
        rows = st.rows
        self.batch = st.records()
        self.batch["advantage"] = advantages.view(-1)[rows]
        self.batch["return"] = self.batch["advantage"] + self.batch["value"]

    def update(self) -> dict[str, float]:
        """Run the epochs over the iteration's decisions and return the metrics."""
        start = time.perf_counter()
        # tensors of the rollout are inference tensors; indexing them here gives tensors that autograd may record
        batch = self.batch
        if self.recompute_log_probs:
            self._recompute_log_probs(batch)
        if self.normalize_batch:
            batch["advantage"] = normalize(batch["advantage"])
        self.rates.begin_iteration(self.iteration)
        metrics = self._run_epochs(batch)
        metrics["explained_variance"] = explained_variance(batch["value"], batch["return"]).item()
        if "adaptive" in self.rates.schedules and not self._warming_up:
            metrics["final_kl"] = self._final_kl(batch)
            self.rates.end_iteration(metrics["final_kl"])
        metrics["critic_learning_rate"] = self.optimizer.param_groups[1]["lr"]
        metrics["nonfinite_steps"] = float(self.guard.total)
        metrics |= self._seconds() | {"perf/update": time.perf_counter() - start}
        metrics["perf/decisions"] = float(len(batch))
        if torch.device(self.device).type == "cuda":
            metrics["perf/peak_memory_gb"] = torch.cuda.max_memory_allocated(self.device) / 2**30
        self._end_iteration(batch)
        return metrics

    @property
    def _warming_up(self) -> bool:
        return self.iteration < self.num_critic_warmup_iterations

    def _run_epochs(self, batch: TensorDict) -> dict[str, float]:
        """Take the optimiser steps of one iteration and return the mean of their metrics."""
        num_mini_batches = self._agreed_mini_batches(len(batch))
        totals: dict[str, torch.Tensor] = {}
        num_steps, stopped = 0, False
        for _ in range(self.num_learning_epochs):
            order = torch.randperm(len(batch), device=self.device)
            for index in order.tensor_split(num_mini_batches):
                metrics = self._minibatch_step(batch[index])
                if metrics is None:
                    continue
                for name, value in metrics.items():
                    totals[name] = totals.get(name, 0.0) + value
                num_steps += 1
                if self.target_kl is not None and self._over_ranks(metrics["approx_kl"]).item() > self.target_kl:
                    stopped = True
                    break
            if stopped:
                break
        means = {name: (total / num_steps).item() for name, total in totals.items()}
        return means | ({"optimizer_steps": float(num_steps)} if self.target_kl is not None else {})

    def _agreed_mini_batches(self, num_decisions: int) -> int:
        """Return the number of minibatches; alike on all ranks, which would wait for each other's gradients forever."""
        number = min(self.num_mini_batches, num_decisions)
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
        if self.normalize_minibatch:
            minibatch["advantage"] = normalize(minibatch["advantage"])
        self.optimizer.zero_grad()
        if self.rnd is not None:
            self.rnd.optimizer.zero_grad()
        sums: dict[str, torch.Tensor] = {}
        for micro in minibatch.split(self.micro_batch_size or len(minibatch)):
            terms = self._loss_terms(micro)
            policy_weight = 0.0 if self._warming_up else 1.0
            loss = (
                policy_weight * (terms["policy"] - self.entropy_coef * terms["entropy"])
                + self.value_loss_coef * terms["value"]
                + terms.get("rnd", 0.0)  # the predictor's weights appear in no other term
            )
            (loss.sum() / len(minibatch)).backward()
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.detach().sum()
        if self.gpu_world_size > 1:
            reduced = chain(self.parameters(), self.rnd.predictor.parameters() if self.rnd is not None else ())
            reduce_gradients_in_buckets(reduced, self.gpu_world_size, self.grad_reduce_bucket_mb)
        grad_norm = nn.utils.clip_grad_norm_(self.parameters(), self.max_grad_norm)
        if not self.guard.allows(grad_norm, minibatch, self.iteration):
            return None
        self._optimizer_step()
        metrics = {name: total / len(minibatch) for name, total in sums.items()}
        metrics["grad_norm"] = grad_norm.detach()
        return metrics

    def _optimizer_step(self) -> None:
        """Step the optimisers; during the warm-up the actor's parameters, whose gradient is zero, stay untouched."""
        if self._warming_up:
            for parameter in self.actor_parameters:
                parameter.grad = None
        self.optimizer.step()
        if self.rnd is not None:
            self.rnd.optimizer.step()

    def _loss_terms(self, micro: TensorDict) -> dict[str, torch.Tensor]:
        """Return the losses and diagnostics of each decision, every entry [B]."""
        micro = self.policy.restore(micro)
        policy = self.policy.evaluate(micro)
        value = self.critic(micro).squeeze(-1)
        log_ratio = policy.log_prob - micro["log_prob"]
        ratio = log_ratio.exp()
        high = self.clip_param if self.clip_param_high is None else self.clip_param_high
        clipped = (ratio.detach() < 1.0 - self.clip_param) | (ratio.detach() > 1.0 + high)
        terms = {
            "policy": clipped_surrogate(
                ratio, micro["advantage"], self.clip_param, self.clip_param_high, self.dual_clip
            ),
            "value": value_loss(value, micro["return"], micro["value"], self.value_clip, self.huber_delta),
            "entropy": policy.entropy,
            "approx_kl": approx_kl(log_ratio.detach()),
            "clipfrac": clipped.float(),
        }
        if self.rnd is not None:
            terms["rnd"] = self.rnd.compute_loss(micro).expand(len(micro))
        return terms

    @torch.no_grad()
    def _recompute_log_probs(self, batch: TensorDict) -> None:
        """Replace the stored log-probabilities by those that the update's own batch shape gives."""
        size = self.micro_batch_size or -(-len(batch) // self.num_mini_batches)
        batch["log_prob"] = torch.cat([self._evaluate(micro).log_prob for micro in batch.split(size)])

    @torch.no_grad()
    def _final_kl(self, batch: TensorDict) -> float:
        """Return KL(old || new) after the last step, in closed form on a minibatch's worth of rows, over all ranks."""
        sample = batch[:: self.num_mini_batches]  # rows of all times
        sums = [self._evaluate(m).kl.sum() for m in sample.split(self.micro_batch_size or len(sample))]
        return self._over_ranks(torch.stack(sums).sum() / len(sample)).item()

    def _evaluate(self, stored: TensorDict) -> PolicyEvaluation:
        return self.policy.evaluate(self.policy.restore(stored))

    def _over_ranks(self, value: torch.Tensor) -> torch.Tensor:
        """Return the mean of a scalar over all ranks, so that all decide alike."""
        if self.gpu_world_size == 1:
            return value
        value = value.clone()
        dist.all_reduce(value)
        return value / self.gpu_world_size
