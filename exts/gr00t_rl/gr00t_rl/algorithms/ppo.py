# SPDX-License-Identifier: BSD-3-Clause
"""Proximal policy optimisation over decisions: one env step of an MLP, or an action chunk of GR00T."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict
from torch import nn

from ..options import PpoOptions
from ..utils.moments import RewardScaler
from .losses import value_loss
from .mini_batches import num_units
from .ranks import Moments, Tally
from .returns import normalize, semi_mdp_gae
from .surrogate import ClippedSurrogate


class PPO(ClippedSurrogate):
    """PPO (Schulman et al., arXiv 1707.06347) for policies whose decisions last one or several env steps.

    Args:
        *args: See :class:`ClippedSurrogate`; the options are :class:`~gr00t_rl.options.PpoOptions`.
        **kwargs: See :class:`ClippedSurrogate`.
    """

    options_type = PpoOptions
    options: PpoOptions
    critic: nn.Module  # PPO has one

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ahead = False
        """Whether the critic takes its own steps, ahead of the policy's."""
        o = self.options
        if o.reward_scaling:
            self.reward_scaler = RewardScaler(self.env.num_envs, o.gamma, o.reward_clip).to(self.device)

    def compute_returns(self, obs: TensorDict) -> None:
        """End all running decisions with the value of ``obs`` and compute advantages and returns."""
        self._end_rollout()
        st, last, lam = self.storage, self._value(obs), self.options.lam
        advantages = semi_mdp_gae(st.rewards, st.values, st.discounts, st.valid, last, lam, st.discarded)
        rows = st.rows
        self.batch = st.records()
        self.batch["advantage"] = advantages.view(-1)[rows]
        self.batch["return"] = self.batch["advantage"] + self.batch["value"]

    def update(self) -> dict[str, float]:
        """Run the epochs over the iteration's decisions and return the metrics."""
        metrics = super().update()
        metrics["critic_learning_rate"] = self.optimizer.param_groups[-1]["lr"]
        return metrics

    def _prepare(self, batch: TensorDict) -> torch.Tensor:
        """Normalise the advantages over the batch; learn from all decisions."""
        o = self.options
        if o.normalize_advantage and not o.normalize_advantage_per_mini_batch:
            batch["advantage"] = normalize(batch["advantage"])
        return super()._prepare(batch)

    def _tally(self, tally: Tally, batch: TensorDict) -> None:
        """Add the returns, what the critic left unexplained of them, and how episodes ended."""
        for name, number in zip(("endings", "successes"), self.endings.take(), strict=True):
            tally.add(name, number)
        tally.add("return", batch["return"])
        tally.add("value_error", batch["return"] - batch["value"])

    def _describe(self, moments: dict[str, Moments]) -> dict[str, float]:
        """Return how much of the returns' variance the critic explained, 1 - Var[R - V] / Var[R]."""
        of_return, of_error = moments["return"].variance, moments["value_error"].variance
        return {"explained_variance": 1.0 - of_error / of_return if of_return > 0 else 0.0}

    @property
    def _critic_alone(self) -> bool:
        return self._ahead or self.iteration < self.options.num_critic_warmup_iterations

    def _run_epochs(self, batch: TensorDict, rows: torch.Tensor, tally: Tally) -> bool:
        """Take the critic's own steps, and then those of policy and critic together."""
        if self.options.num_critic_epochs > 0:
            number = self._agreed_mini_batches(num_units(rows, self._env_of(batch)))
            self._ahead = True
            for index in self._minibatches(batch, rows, number, self.options.num_critic_epochs):
                self._minibatch_step(batch[index])
            self._ahead = False
        return super()._run_epochs(batch, rows, tally)

    def _minibatch_step(self, minibatch: TensorDict) -> dict[str, torch.Tensor] | None:
        """Take one optimiser step, see :class:`ClippedSurrogate`."""
        o = self.options
        if o.normalize_advantage and o.normalize_advantage_per_mini_batch:
            minibatch["advantage"] = normalize(minibatch["advantage"])
        return super()._minibatch_step(minibatch)

    def _optimizer_step(self) -> None:
        """Step the optimisers; where the critic learns alone, the actor's parameters stay untouched."""
        if self._critic_alone:
            for parameter in self.actor_parameters:  # of encoders that it shares with the critic
                parameter.grad = None
        super()._optimizer_step()

    def _loss_terms(self, micro: TensorDict) -> dict[str, torch.Tensor]:
        """Return the losses and diagnostics of each decision, every entry [B]; the critic's where it learns alone."""
        o, terms = self.options, {}
        if not self._critic_alone or getattr(self.critic, "reads_features", False):
            micro = self.policy.restore(micro)
        if not self._critic_alone:
            terms = self._policy_terms(micro, self.policy.evaluate(micro))
        value = (self.critic(micro) if self.memory is None else self.memory.replay(self.critic, micro)).squeeze(-1)
        value_clip = o.clip_param if o.use_clipped_value_loss else None
        terms["value"] = value_loss(value, micro["return"], micro["value"], value_clip, o.huber_delta)
        if self.rnd is not None and not self._ahead:
            terms["rnd"] = self.rnd.compute_loss(micro).expand(len(micro))
        return terms

    def _loss(self, terms: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the loss of each decision [B], eq. 9 of the paper with the signs of a loss."""
        o = self.options
        # the predictor's weights appear in no other term
        critic_loss = o.value_loss_coef * terms["value"] + terms.get("rnd", 0.0)
        if self._critic_alone:
            return critic_loss
        return terms["policy"] - o.entropy_coef * terms["entropy"] + critic_loss
