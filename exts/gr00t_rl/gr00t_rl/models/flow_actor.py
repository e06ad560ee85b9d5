# SPDX-License-Identifier: BSD-3-Clause
"""What every flow policy over action chunks shares: deciding, scoring, and playing chunks open loop."""

from __future__ import annotations

import copy
from typing import Self

import torch
from tensordict import TensorDict
from torch import nn

from ..flow import FlowHead, Transitions, VelocityField, chain_entropy, chain_kl, chain_log_prob
from ..options import FlowActorOptions, fixed_noise
from ..utils.errors import ConfigurationError
from .chunk_queue import ChunkQueue
from .export import ExportedPolicy
from .policy import PlainRecords, PolicyEvaluation


class FlowActor(PlainRecords, nn.Module):
    """Base of rsl_rl actors whose decisions are chunks drawn from a flow policy.

    A sub-class provides :meth:`velocity_field`, and :meth:`observe` if it caches features. It implements
    :class:`~gr00t_rl.models.policy.DecisionPolicy` for our algorithms, and rsl_rl's model surface for ``play``.

    Args:
        head: The policy head.
        chunk_shape: (H, A) of the chain's states, padding included.
        action_dim: The env's action dimensions; the first ones of A.
        options: Chunks, initial noise, and what the log-probability counts: with ``log_prob_over`` "chain" all H steps
            and A dimensions of the random transitions, and with "executed" those of the executed steps and the real
            action dimensions. The numbers that are not executed feed back into the others along the chain. So "chain"
            is the density of all that was drawn after x_0 (given the drawn step, where one step is random), and
            "executed" a part of its sum: without what the other numbers say about the weights, which makes the gradient
            less noisy and slightly wrong (docs/design.md has figures). With one transition per chain ("gaussian") both
            are exact for what they count.
    """

    is_recurrent = False
    _device_probe: torch.Tensor

    def __init__(
        self,
        head: FlowHead,
        chunk_shape: tuple[int, int],
        action_dim: int,
        options: FlowActorOptions,
    ) -> None:
        super().__init__()
        self.head = head
        self.chunk_shape, self.action_dim, self.n_action_steps = chunk_shape, action_dim, options.n_action_steps
        self.init_noise_scale, self.log_prob_over = options.init_noise_scale, options.log_prob_over
        self.align_decisions = options.align_decisions
        self.fixed_noise = fixed_noise(options)
        """Why no weight changes the entropy, see :func:`gr00t_rl.options.fixed_noise`; None where some do."""
        # tells the device the model was moved to
        self.register_buffer("_device_probe", torch.empty(0), persistent=False)
        self._queue: ChunkQueue | None = None

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self._device_probe.device

    def observe(self, obs: TensorDict) -> TensorDict:
        """Return what is stored of an observation, batch size [B]."""
        return obs

    def velocity_field(self, observed: TensorDict) -> VelocityField:
        """Return the velocity field and its condition for the observations ``observed`` [B]; differentiable."""
        raise NotImplementedError

    # -- decisions -------------------------------------------------------------------------------------------------

    def initial_noise(self, batch: int) -> torch.Tensor:
        """Draw x_0, float32 [B, H, A]."""
        return self.init_noise_scale * torch.randn(batch, *self.chunk_shape, device=self.device)

    def decide(self, observed: TensorDict) -> tuple[torch.Tensor, TensorDict]:
        """Sample a chunk per row of ``observed`` [B]; see :class:`~gr00t_rl.models.policy.DecisionPolicy`."""
        field = self.velocity_field(observed)
        sample = self.head.sample(field.velocity, self.initial_noise(observed.batch_size[0]), field.condition)
        mean, std = self._scored(sample.mean), self._scored_std(sample.std)
        record = observed.copy()
        record["x"], record["x_next"], record["step"] = sample.transitions
        record["mean"], record["std"] = mean, std.expand_as(mean)
        record["log_prob"] = chain_log_prob(self._scored(sample.transitions.x_next), mean, std)
        return self.env_actions(sample.actions, self.decision_state(observed)), record

    def evaluate(self, record: TensorDict) -> PolicyEvaluation:
        """Score stored decisions under the current weights."""
        transitions = Transitions(record["x"], record["x_next"], record["step"])
        field = self.velocity_field(record)
        mean, std = self.head.distribution(field.velocity, transitions, field.condition)
        mean, std = self._scored(mean), self._scored_std(std)
        log_prob = chain_log_prob(self._scored(record["x_next"]), mean, std)

        def kl() -> torch.Tensor:
            return chain_kl(record["mean"], record["std"], mean.detach(), std.detach())

        return PolicyEvaluation(log_prob, chain_entropy(mean, std), (mean, std.expand_as(mean)), kl)

    def divergence(self, p: tuple[torch.Tensor, ...], q: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return KL(p || q) [B] of two chains' means and standard deviations at the same visited states."""
        return chain_kl(*p, *q)

    def _scored(self, x: torch.Tensor) -> torch.Tensor:
        """Return what is scored of states or means [B, M, H, A]: their innovations, whose noise is independent."""
        return self._counted(self.head.correlation.innovations(x))

    def _scored_std(self, std: torch.Tensor) -> torch.Tensor:
        """Return the standard deviations of what :meth:`_scored` returns, for those of the transitions."""
        return self._counted(self.head.correlation.innovation_std(std))

    def _counted(self, x: torch.Tensor) -> torch.Tensor:
        """Select what ``log_prob_over`` counts of [B, M, H, A]."""
        if self.log_prob_over == "chain":
            return x
        steps = x if x.shape[2] == 1 else x[:, :, : self.n_action_steps]
        return steps if x.shape[3] == 1 else steps[..., : self.action_dim]

    def decision_state(self, observed: TensorDict) -> torch.Tensor | None:
        """Return the raw state that :meth:`env_actions` may need of observations [B]; None where it needs none."""
        return None

    def env_actions(self, chunk: torch.Tensor, state: torch.Tensor | None = None) -> torch.Tensor:
        """Return the executed part of a chunk [B, H, A] in the env's action units, [B, n_action_steps, action_dim].

        Args:
            chunk: From the head.
            state: Raw state [B, S] in which was decided, to which actions may be relative; see :meth:`decision_state`.
        """
        return chunk[:, : self.n_action_steps, : self.action_dim]

    def act_chunk(self, obs: TensorDict) -> torch.Tensor:
        """Return the ODE's chunk for ``obs`` [B], without exploration noise: [B, n_action_steps, action_dim]."""
        x0, observed = self.initial_noise(obs.batch_size[0]), self.observe(obs)
        chunk = self.head.integrate(self.velocity_field(observed), x0)
        return self.env_actions(chunk, self.decision_state(observed))

    def hold_action(self, obs: TensorDict) -> torch.Tensor | None:
        """Return the action with which waiting envs stay where they are; see :class:`.policy.DecisionPolicy`."""
        return None

    # -- what rsl_rl asks of a model -------------------------------------------------------------------------------

    def forward(
        self, obs: TensorDict, masks: None = None, hidden_state: None = None, stochastic_output: bool = False
    ) -> torch.Tensor:
        """Return the next action of every env [N, A]; envs whose chunk is used up decide first (play, evaluation)."""
        batch = obs.batch_size[0]
        if self._queue is None or len(self._queue) != batch:
            self._queue = ChunkQueue(batch, self.n_action_steps, self.action_dim, self.device, self.align_decisions)
        ids = self._queue.due_ids()
        if ids.numel() > 0:
            due = obs[ids]
            chunk = self.decide(self.observe(due))[0] if stochastic_output else self.act_chunk(due)
            self._queue.push(ids, chunk)
        return self._queue.pop(self.hold_action(obs))

    @property
    def due(self) -> torch.Tensor | None:
        """Envs that decide at the next call, bool [N]; None before the first."""
        return None if self._queue is None else self._queue.due

    def reset(self, dones: torch.Tensor | None = None, hidden_state: None = None) -> None:
        """Drop the chunks of envs that were reset."""
        if dones is not None and self._queue is not None and len(dones) != len(self._queue):
            self._queue = None  # it was played in other envs
        if self._queue is not None:
            self._queue.clear(dones)

    def rest(self, envs: torch.Tensor) -> None:
        """Let the envs flagged in ``envs`` [N] stay where they are, undecided, until all chunks are dropped."""
        if self._queue is not None:
            self._queue.rest(envs)

    def get_hidden_state(self) -> None:
        """Return None: the network has no recurrent state."""

    def get_output_log_prob(self, outputs: torch.Tensor) -> torch.Tensor:
        """Refuse algorithms that score single actions."""
        raise ConfigurationError(
            f"{type(self).__name__} decides in action chunks, which rsl_rl's own algorithms cannot score; set "
            "algorithm.class_name='gr00t_rl.algorithms:PPO'"
        )

    @property
    def output_std(self) -> torch.Tensor:
        """Standard deviations of the policy's noise, for the log."""
        return self.head.std_summary()

    def update_normalization(self, obs: TensorDict) -> None:
        """Update running moments of the observations; none here."""

    def copy(self) -> Self:
        """Return a copy with weights of its own, and no chunks under way."""
        queue, self._queue = self._queue, None  # what a rollout queued are inference tensors, which cannot be copied
        try:
            return copy.deepcopy(self)
        finally:
            self._queue = queue

    def as_jit(self) -> torch.jit.ScriptModule:
        """Return the policy as a traced module, chunk in one call; see :class:`ExportedPolicy`."""
        exported = self.as_onnx()
        with torch.no_grad():
            return torch.jit.trace(exported, exported.get_dummy_inputs(), check_trace=False)  # type: ignore

    def as_onnx(self, verbose: bool = False) -> ExportedPolicy:
        """Return the policy as a module for ONNX export, chunk in one call; see :class:`ExportedPolicy`."""
        raise NotImplementedError
