# SPDX-License-Identifier: BSD-3-Clause
"""The interface between a policy and an algorithm that learns from its decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from rsl_rl.models import MLPModel
from tensordict import TensorDict


class PolicyEvaluation(NamedTuple):
    """A policy's statistics at stored decisions."""

    log_prob: torch.Tensor
    """log pi(decision), float32 [B]."""
    entropy: torch.Tensor
    """Entropy of the decision's distribution, float32 [B]."""
    parameters: tuple[torch.Tensor, ...]
    """Parameters of the decision's distribution, float32 [B, ...] each; for :meth:`DecisionPolicy.divergence`."""
    kl_from_old: Callable[[], torch.Tensor]
    """Computes :attr:`kl`, which few minibatches ask for."""

    @property
    def kl(self) -> torch.Tensor:
        """KL(old || current) in closed form, float32 [B], without gradient."""
        with torch.no_grad():
            return self.kl_from_old()


class DecisionPolicy(Protocol):
    """A policy whose decisions last ``n_action_steps`` env steps."""

    n_action_steps: int
    align_decisions: bool
    """Whether all envs decide at the same steps; see :class:`~gr00t_rl.models.ChunkQueue`."""

    def observe(self, obs: TensorDict) -> TensorDict:
        """Return what is stored of an observation, batch size [B]: small groups and cached features."""
        ...

    def decide(self, observed: TensorDict) -> tuple[torch.Tensor, TensorDict]:
        """Sample decisions for ``observed`` [B].

        Returns:
            The env actions [B, n_action_steps, A], and a record [B] that :meth:`evaluate` can score: ``observed``,
            the sample, and its "log_prob" [B] at collection.
        """
        ...

    def hold_action(self, obs: TensorDict) -> torch.Tensor | None:
        """Return the action [N, A] with which envs that wait stay where ``obs`` [N] sees them; None where it is 0."""
        ...

    def expect(self, num_decisions: int) -> None:
        """Be told for how many decisions of an iteration to make room."""
        ...

    def store(self, record: TensorDict) -> TensorDict:
        """Return the form in which a record [B] is kept until the update."""
        ...

    def restore(self, record: TensorDict) -> TensorDict:
        """Undo :meth:`store` for any selection of rows."""
        ...

    def forget(self) -> None:
        """Drop what :meth:`store` kept outside the records; the iteration is over."""
        ...

    def evaluate(self, record: TensorDict) -> PolicyEvaluation:
        """Score restored decisions under the current weights; differentiable."""
        ...

    def divergence(self, p: tuple[torch.Tensor, ...], q: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return KL(p || q) [B] in closed form of two evaluations' parameters; differentiable."""
        ...


class PlainRecords:
    """Records that are kept as they are."""

    def expect(self, num_decisions: int) -> None:
        """Do nothing."""

    def store(self, record: TensorDict) -> TensorDict:
        """Return ``record``."""
        return record

    def restore(self, record: TensorDict) -> TensorDict:
        """Return ``record``."""
        return record

    def forget(self) -> None:
        """Do nothing."""


class StepPolicy(PlainRecords):
    """Lets a stock rsl_rl model act as a :class:`DecisionPolicy` whose decisions last one env step.

    Args:
        model: A stochastic rsl_rl model (``MLPModel``, ``CNNModel``).
        obs_groups: Names of the observation groups that actor and critic read.
    """

    n_action_steps = 1
    align_decisions = False

    def __init__(self, model: MLPModel, obs_groups: list[str]) -> None:
        self.model = model
        self.obs_groups = obs_groups

    def observe(self, obs: TensorDict) -> TensorDict:
        """Keep the observation groups that the models read."""
        return obs.select(*self.obs_groups)

    def decide(self, observed: TensorDict) -> tuple[torch.Tensor, TensorDict]:
        """Sample an action and keep the parameters of its distribution."""
        action = self.model(observed, stochastic_output=True)
        record = observed.copy()
        record["action"] = action
        record["log_prob"] = self.model.get_output_log_prob(action)
        for i, parameter in enumerate(self.model.output_distribution_params):
            record[f"distribution_{i}"] = parameter
        return action.unsqueeze(1), record

    def hold_action(self, obs: TensorDict) -> None:
        """Return None: what the env's actions mean is not known."""

    def evaluate(self, record: TensorDict) -> PolicyEvaluation:
        """Score stored actions with the model's own distribution."""
        self._distribute(record)
        parameters = self.model.output_distribution_params
        log_prob = self.model.get_output_log_prob(record["action"])

        def kl() -> torch.Tensor:
            old = tuple(record[f"distribution_{i}"] for i in range(len(parameters)))
            return self.model.get_kl_divergence(old, parameters)

        return PolicyEvaluation(log_prob, self.model.output_entropy, tuple(parameters), kl)

    def _distribute(self, record: TensorDict) -> None:
        """Let the model's distribution be that at stored decisions."""
        self.model(record, stochastic_output=True)

    def divergence(self, p: tuple[torch.Tensor, ...], q: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return KL(p || q) [B] of the model's own distribution."""
        return self.model.get_kl_divergence(p, q)
