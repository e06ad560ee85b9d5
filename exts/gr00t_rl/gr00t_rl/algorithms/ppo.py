# SPDX-License-Identifier: BSD-3-Clause
"""Proximal policy optimisation over decisions: one env step of an MLP, or an action chunk of GR00T."""

from __future__ import annotations

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import nn

from .losses import explained_variance, value_loss
from .returns import normalize, semi_mdp_gae
from .surrogate import ClippedSurrogate


class PPO(ClippedSurrogate):
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
            num_learning_epochs=num_learning_epochs,
            num_mini_batches=num_mini_batches,
            micro_batch_size=micro_batch_size,
            gamma=gamma,
            clip_param=clip_param,
            clip_param_high=clip_param_high,
            dual_clip=dual_clip,
            entropy_coef=entropy_coef,
            target_kl=target_kl,
            recompute_log_probs=recompute_log_probs,
            learning_rate=learning_rate,
            critic_learning_rate=critic_learning_rate,
            schedule=schedule,
            critic_schedule=critic_schedule,
            desired_kl=desired_kl,
            max_grad_norm=max_grad_norm,
            adam_eps=adam_eps,
            reward_scaling=reward_scaling,
            reward_clip=reward_clip,
            max_nonfinite_steps=max_nonfinite_steps,
            max_iterations=max_iterations,
            rnd_cfg=rnd_cfg,
            device=device,
            multi_gpu_cfg=multi_gpu_cfg,
            grad_reduce_bucket_mb=grad_reduce_bucket_mb,
        )
        self.critic: nn.Module  # PPO has one
        self.lam = lam
        self.normalize_batch = normalize_advantage and not normalize_advantage_per_mini_batch
        self.normalize_minibatch = normalize_advantage and normalize_advantage_per_mini_batch
        self.value_loss_coef = value_loss_coef
        self.value_clip, self.huber_delta = clip_param if use_clipped_value_loss else None, huber_delta
        self.num_critic_warmup_iterations = num_critic_warmup_iterations

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
        metrics = super().update()
        metrics["critic_learning_rate"] = self.optimizer.param_groups[1]["lr"]
        return metrics

    def _prepare(self, batch: TensorDict) -> TensorDict:
        """Normalise the advantages over the batch."""
        if self.normalize_batch:
            batch["advantage"] = normalize(batch["advantage"])
        return batch

    def _diagnostics(self, batch: TensorDict) -> dict[str, float]:
        """Return how much of the returns' variance the critic explained."""
        return {"explained_variance": explained_variance(batch["value"], batch["return"]).item()}

    @property
    def _warming_up(self) -> bool:
        return self.iteration < self.num_critic_warmup_iterations

    def _minibatch_step(self, minibatch: TensorDict) -> dict[str, torch.Tensor] | None:
        """Take one optimiser step, see :class:`ClippedSurrogate`."""
        if self.normalize_minibatch:
            minibatch["advantage"] = normalize(minibatch["advantage"])
        return super()._minibatch_step(minibatch)

    def _optimizer_step(self) -> None:
        """Step the optimisers; during the warm-up the actor's parameters, whose gradient is zero, stay untouched."""
        if self._warming_up:
            for parameter in self.actor_parameters:
                parameter.grad = None
        super()._optimizer_step()

    def _loss_terms(self, micro: TensorDict) -> dict[str, torch.Tensor]:
        """Return the losses and diagnostics of each decision, every entry [B]."""
        micro = self.policy.restore(micro)
        policy = self.policy.evaluate(micro)
        value = self.critic(micro).squeeze(-1)
        terms = self._policy_terms(micro, policy)
        terms["value"] = value_loss(value, micro["return"], micro["value"], self.value_clip, self.huber_delta)
        if self.rnd is not None:
            terms["rnd"] = self.rnd.compute_loss(micro).expand(len(micro))
        return terms

    def _loss(self, terms: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the loss of each decision [B], eq. 9 of the paper with the signs of a loss."""
        policy_weight = 0.0 if self._warming_up else 1.0
        return (
            policy_weight * (terms["policy"] - self.entropy_coef * terms["entropy"])
            + self.value_loss_coef * terms["value"]
            + terms.get("rnd", 0.0)  # the predictor's weights appear in no other term
        )
