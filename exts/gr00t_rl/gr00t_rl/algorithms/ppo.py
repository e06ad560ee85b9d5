# SPDX-License-Identifier: BSD-3-Clause
"""Proximal policy optimisation over decisions: one env step of an MLP, or an action chunk of GR00T."""

from __future__ import annotations

import os
import time
from itertools import chain
from typing import Any

import torch
import torch.distributed as dist
from rsl_rl.env import VecEnv
from rsl_rl.models import MLPModel
from rsl_rl.utils import reduce_gradients_in_buckets, resolve_class, resolve_obs_groups
from tensordict import TensorDict
from torch import nn

from ..models.chunk_queue import ChunkQueue
from ..models.policy import DecisionPolicy, StepPolicy
from ..storage import DecisionStorage
from ..utils.errors import ConfigurationError
from ..utils.log_writer import metric_logger
from .contract import refuse_unsupported
from .losses import approx_kl, clipped_surrogate, explained_variance, value_loss
from .returns import normalize, semi_mdp_gae


class PPO:
    """PPO for policies whose decisions last one or several env steps; driven by rsl_rl's ``OnPolicyRunner``.

    Args:
        actor: A :class:`~gr00t_rl.models.policy.DecisionPolicy` module, or any stochastic rsl_rl model.
        critic: An rsl_rl model with one output.
        env: The vectorised env; only its shape, and the flag by which image terms learn who will look, are used.
        obs_groups: Names of the observation groups of the sets "actor" and "critic".
        num_steps: Env steps per iteration.
        num_learning_epochs: Passes over the iteration's decisions.
        num_mini_batches: Minibatches per pass; every decision is in one of them.
        clip_param: Clipping range of the ratio, epsilon.
        gamma: Discount per env step.
        lam: GAE's lambda per decision.
        value_loss_coef: Weight of the value loss.
        entropy_coef: Weight of the entropy bonus.
        learning_rate: Learning rate of the actor.
        critic_learning_rate: Learning rate of the critic; the actor's where None.
        schedule: "fixed", "linear" (both rates to 0 over ``max_iterations``) or "adaptive" (the actor's rate follows
            ``desired_kl``, once per iteration).
        desired_kl: Target of KL(old || new) per iteration for the adaptive schedule.
        max_grad_norm: Bound of the global gradient norm, over actor and critic together.
        use_clipped_value_loss: Whether to clip the value's change as well.
        normalize_advantage_per_mini_batch: Normalise advantages in each minibatch instead of over the batch.
        micro_batch_size: Decisions per forward pass; minibatches are accumulated from pieces of this size.
        max_iterations: Length of the linear schedule.
        device: Device of models and storage.
        multi_gpu_cfg: rsl_rl's description of the process group, or None.

    Raises:
        ConfigurationError: If a setting cannot work.
    """

    rnd = None  # read by the runner
    intrinsic_rewards = None

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
        clip_param: float = 0.2,
        gamma: float = 0.99,
        lam: float = 0.95,
        value_loss_coef: float = 0.5,
        entropy_coef: float = 0.0,
        learning_rate: float = 3e-4,
        critic_learning_rate: float | None = None,
        schedule: str = "linear",
        desired_kl: float = 0.01,
        max_grad_norm: float = 0.5,
        use_clipped_value_loss: bool = False,
        normalize_advantage_per_mini_batch: bool = False,
        micro_batch_size: int | None = None,
        max_iterations: int = 1,
        device: str = "cpu",
        multi_gpu_cfg: dict | None = None,
    ) -> None:
        self.device = device
        self.gpu_world_size = multi_gpu_cfg["world_size"] if multi_gpu_cfg else 1
        self.actor, self.critic = actor.to(device), critic.to(device)
        groups = list(dict.fromkeys(chain(obs_groups["actor"], obs_groups["critic"])))
        self.policy: DecisionPolicy = actor if hasattr(actor, "decide") else StepPolicy(actor, groups)  # type: ignore
        self.storage = DecisionStorage(env.num_envs, num_steps, gamma, device)
        self.queue = ChunkQueue(env.num_envs, self.policy.n_action_steps, env.num_actions, device)
        self.env = env
        self.num_steps = num_steps
        self.num_learning_epochs, self.num_mini_batches = num_learning_epochs, num_mini_batches
        self.micro_batch_size = micro_batch_size
        self.clip_param, self.gamma, self.lam = clip_param, gamma, lam
        self.value_loss_coef, self.entropy_coef = value_loss_coef, entropy_coef
        self.max_grad_norm, self.value_clip = max_grad_norm, clip_param if use_clipped_value_loss else None
        self.normalize_advantage_per_mini_batch = normalize_advantage_per_mini_batch
        self.schedule, self.desired_kl, self.max_iterations = schedule, desired_kl, max_iterations
        self.initial_rates = (learning_rate, critic_learning_rate or learning_rate)
        self.actor_parameters = [p for p in actor.parameters() if p.requires_grad]
        self.critic_parameters = [p for p in critic.parameters() if p.requires_grad]
        # eps 1e-5 as in the original implementation; PyTorch's 1e-8 makes the first steps far larger
        self.optimizer = torch.optim.Adam(
            [
                {"params": self.actor_parameters, "lr": self.initial_rates[0]},
                {"params": self.critic_parameters, "lr": self.initial_rates[1]},
            ],
            eps=1e-5,
        )
        self.iteration = 0
        self._step = 0
        self._seconds = {"decide": 0.0}

    # -- rollout ---------------------------------------------------------------------------------------------------

    def act(self, obs: TensorDict) -> torch.Tensor:
        """Return the next action of every env [N, A]; envs whose chunk is used up decide first."""
        ids = self.queue.due_ids()
        if ids.numel() > 0:
            start = time.perf_counter()
            observed = self.policy.observe(obs if ids.numel() == self.env.num_envs else obs[ids])
            chunk, record = self.policy.decide(observed)
            record["value"] = self.critic(record).squeeze(-1)
            self.storage.open(ids, record)
            self.queue.push(ids, chunk)
            self._seconds["decide"] += time.perf_counter() - start
        action = self.queue.pop()
        self._step += 1
        # image terms render only if somebody will look at the next observation; at the iteration's end all do
        everyone = self._step == self.num_steps
        unwrapped: Any = getattr(self.env, "unwrapped", self.env)
        unwrapped.decision_due = torch.ones_like(self.queue.due) if everyone else self.queue.due
        return action

    def process_env_step(
        self, obs: TensorDict, rewards: torch.Tensor, dones: torch.Tensor, extras: dict[str, Any]
    ) -> None:
        """Add one env step to the running decisions; envs that were reset decide anew at the next step."""
        self.storage.step(rewards, dones, self._time_out_values(obs, dones, extras))
        self.queue.clear(dones)
        self.actor.reset(dones)  # type: ignore[operator]
        self.critic.reset(dones)  # type: ignore[operator]

    def _time_out_values(self, obs: TensorDict, dones: torch.Tensor, extras: dict[str, Any]) -> torch.Tensor | None:
        """Return V(final observation) where a time-out ended the episode and 0 elsewhere, [N]; None without any."""
        time_outs = extras.get("time_outs")
        if time_outs is None:
            return None
        ids = (time_outs.to(self.device) & dones.bool()).nonzero().squeeze(-1)
        if ids.numel() == 0:
            return None
        if "final_obs" not in extras:
            raise ConfigurationError(
                "an episode timed out, but the env reports no extras['final_obs'] to bootstrap from; "
                "set env.compute_final_obs=True"
            )
        final_obs = TensorDict(extras["final_obs"], batch_size=[self.env.num_envs])[ids].to(self.device)
        values = torch.zeros(self.env.num_envs, device=self.device)
        values[ids] = self._value(final_obs)
        return values

    def _value(self, obs: TensorDict) -> torch.Tensor:
        """Return the critic's value of observations [B]; features are computed only for critics that read them."""
        reads_features = getattr(self.critic, "reads_features", False)
        return self.critic(self.policy.observe(obs) if reads_features else obs).squeeze(-1)

    def compute_returns(self, obs: TensorDict) -> None:
        """End all running decisions with the value of ``obs`` and compute advantages and returns."""
        st = self.storage
        advantages = semi_mdp_gae(st.rewards, st.values, st.discounts, st.valid, self._value(obs), self.lam)
        rows = st.rows
        self.batch = st.records()
        self.batch["advantage"] = advantages.view(-1)[rows]
        self.batch["return"] = self.batch["advantage"] + self.batch["value"]
        self.durations = st.durations.view(-1)[rows]

    # -- update ----------------------------------------------------------------------------------------------------

    def update(self) -> dict[str, float]:
        """Run the epochs over the iteration's decisions and return the metrics."""
        start = time.perf_counter()
        # tensors of the rollout are inference tensors; indexing them here gives tensors that autograd may record
        batch, num_mini_batches = self.batch, min(self.num_mini_batches, len(self.batch))
        if not self.normalize_advantage_per_mini_batch:
            batch["advantage"] = normalize(batch["advantage"])
        self._set_rates()
        totals: dict[str, torch.Tensor] = {}
        for _ in range(self.num_learning_epochs):
            order = torch.randperm(len(batch), device=self.device)
            for index in order.tensor_split(num_mini_batches):
                for name, value in self._minibatch_step(batch[index]).items():
                    totals[name] = totals.get(name, 0.0) + value
        num_steps = self.num_learning_epochs * num_mini_batches
        metrics = {name: (total / num_steps).item() for name, total in totals.items()}
        metrics["explained_variance"] = explained_variance(batch["value"], batch["return"]).item()
        if self.schedule == "adaptive":
            metrics["final_kl"] = self._final_kl(batch)
            self._adapt_rate(metrics["final_kl"])
        metrics["critic_learning_rate"] = self.optimizer.param_groups[1]["lr"]
        metrics["perf/decide"], self._seconds["decide"] = self._seconds["decide"], 0.0
        metrics["perf/update"] = time.perf_counter() - start
        metrics["perf/decisions"] = float(len(batch))
        self._end_iteration(batch)
        return metrics

    def _minibatch_step(self, minibatch: TensorDict) -> dict[str, torch.Tensor]:
        """Take one optimiser step; the gradient of all micro-batches together is that of the whole minibatch."""
        if self.normalize_advantage_per_mini_batch:
            minibatch["advantage"] = normalize(minibatch["advantage"])
        self.optimizer.zero_grad()
        sums: dict[str, torch.Tensor] = {}
        for micro in minibatch.split(self.micro_batch_size or len(minibatch)):
            terms = self._loss_terms(micro)
            loss = terms["policy"] + self.value_loss_coef * terms["value"] - self.entropy_coef * terms["entropy"]
            (loss.sum() / len(minibatch)).backward()
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.detach().sum()
        if self.gpu_world_size > 1:
            reduce_gradients_in_buckets(self._parameters(), self.gpu_world_size, 25.0)
        grad_norm = nn.utils.clip_grad_norm_(self._parameters(), self.max_grad_norm)
        self.optimizer.step()
        metrics = {name: total / len(minibatch) for name, total in sums.items()}
        metrics["grad_norm"] = grad_norm.detach()
        return metrics

    def _loss_terms(self, micro: TensorDict) -> dict[str, torch.Tensor]:
        """Return the losses and diagnostics of each decision, every entry [B]."""
        policy = self.policy.evaluate(micro)
        value = self.critic(micro).squeeze(-1)
        log_ratio = policy.log_prob - micro["log_prob"]
        ratio = log_ratio.exp()
        with torch.no_grad():
            clipped = ((ratio - 1.0).abs() > self.clip_param).float()
        return {
            "policy": clipped_surrogate(ratio, micro["advantage"], self.clip_param),
            "value": value_loss(value, micro["return"], micro["value"], self.value_clip),
            "entropy": policy.entropy,
            "approx_kl": approx_kl(log_ratio.detach()),
            "clipfrac": clipped,
        }

    @torch.no_grad()
    def _final_kl(self, batch: TensorDict) -> float:
        """Return KL(old || new) after the last step, estimated on up to one minibatch, averaged over ranks."""
        sample = batch[: max(1, len(batch) // self.num_mini_batches)]
        sums = [self.policy.evaluate(m).kl.sum() for m in sample.split(self.micro_batch_size or len(sample))]
        kl = torch.stack(sums).sum() / len(sample)
        if self.gpu_world_size > 1:
            dist.all_reduce(kl)
            kl = kl / self.gpu_world_size
        return kl.item()

    def _adapt_rate(self, kl: float) -> None:
        """Move the actor's rate towards ``desired_kl``.

        Once per iteration: adapting within it oscillates, since each minibatch sees the drift of all before it.
        """
        factor = 1.0 / 1.3 if kl > 1.5 * self.desired_kl else 1.3 if kl < self.desired_kl / 1.5 else 1.0
        group = self.optimizer.param_groups[0]
        group["lr"] = min(max(group["lr"] * factor, 1e-6), 1e-2)

    def _end_iteration(self, batch: TensorDict) -> None:
        """Update the normalisers and make every env decide anew."""
        self.actor.update_normalization(batch)  # type: ignore[operator]
        self.critic.update_normalization(batch)  # type: ignore[operator]
        self.iteration += 1
        self.storage.clear()
        self.queue.clear()
        self._step = 0

    def _set_rates(self) -> None:
        """Apply the linear schedule."""
        if self.schedule == "linear":
            remaining = max(0.0, 1.0 - self.iteration / self.max_iterations)
            for group, rate in zip(self.optimizer.param_groups, self.initial_rates, strict=True):
                group["lr"] = remaining * rate

    def _parameters(self) -> chain:
        return chain(self.actor_parameters, self.critic_parameters)

    # -- what the runner asks for ----------------------------------------------------------------------------------

    @property
    def learning_rate(self) -> float:
        """The actor's current learning rate."""
        return self.optimizer.param_groups[0]["lr"]

    def train_mode(self) -> None:
        """Set train mode for learnable models."""
        self.actor.train()
        self.critic.train()

    def eval_mode(self) -> None:
        """Set evaluation mode: normalisers are frozen."""
        self.actor.eval()
        self.critic.eval()

    def get_policy(self) -> MLPModel:
        """Return the actor."""
        return self.actor  # type: ignore[return-value]

    def save(self) -> dict[str, Any]:
        """Return the training state; a GR00T actor contributes its trainable parameters and a reference to the rest."""
        return {
            "actor_state_dict": self.actor.state_dict(),
            "critic_state_dict": self.critic.state_dict(),
            "optimizer_state_dict": self.optimizer.state_dict(),
            "ppo_state_dict": {"iteration": self.iteration},
        }

    def load(self, loaded_dict: dict[str, Any], load_cfg: dict | None, strict: bool) -> bool:
        """Restore what :meth:`save` returned; ``load_cfg`` selects parts as in rsl_rl.

        Returns:
            Whether the runner should continue counting from the saved iteration.
        """
        selected = load_cfg or {"actor": True, "critic": True, "optimizer": True, "iteration": True}
        try:
            if selected.get("actor"):
                self.actor.load_state_dict(loaded_dict["actor_state_dict"], strict=strict)
            if selected.get("critic"):
                self.critic.load_state_dict(loaded_dict["critic_state_dict"], strict=strict)
            if selected.get("optimizer"):
                self.optimizer.load_state_dict(loaded_dict["optimizer_state_dict"])
            if selected.get("iteration"):
                self.iteration = loaded_dict["ppo_state_dict"]["iteration"]
        except (KeyError, RuntimeError, ValueError) as error:
            raise ConfigurationError(
                f"the checkpoint does not fit this agent: {error}; pass the checkpoint of a run with the same --task "
                "and --agent"
            ) from None
        return bool(selected.get("iteration", False))

    def broadcast_parameters(self) -> None:
        """Copy rank 0's parameters and buffers to all ranks."""
        for tensor in chain(self.actor.state_dict().values(), self.critic.state_dict().values()):
            if isinstance(tensor, torch.Tensor):
                dist.broadcast(tensor, src=0)

    @classmethod
    def construct_algorithm(cls, obs: TensorDict, env: VecEnv, cfg: dict, device: str) -> PPO:
        """Build models and algorithm from the runner's configuration.

        Args:
            obs: Example observations, batch size [N].
            env: The wrapped env.
            cfg: The runner's configuration as a dict; its "logger" entry is replaced by our writer.
            device: Device of models and storage.
        """
        if torch.device(device).type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            # the networks of a CPU run are so small that a second thread costs more than it brings
            torch.set_num_threads(1)
        _, algorithm_cfg = resolve_class(cfg["algorithm"])
        actor_class, actor_cfg = resolve_class(cfg["actor"])
        critic_class, critic_cfg = resolve_class(cfg["critic"])
        refuse_unsupported(algorithm_cfg)
        cfg["obs_groups"] = resolve_obs_groups(obs, cfg["obs_groups"], ["actor", "critic"])
        cfg["logger"] = metric_logger(cfg.get("logger", "tensorboard"), cfg)
        if "instruction" in actor_cfg and actor_cfg["instruction"] is None:
            actor_cfg["instruction"] = getattr(env.cfg, "instruction", None)
        actor = actor_class(obs, cfg["obs_groups"], "actor", env.num_actions, **actor_cfg).to(device)
        if getattr(critic_class, "reads_features", False):
            critic_cfg["feature_dim"] = actor.feature_dim
        critic = critic_class(obs, cfg["obs_groups"], "critic", 1, **critic_cfg).to(device)
        return cls(
            actor,
            critic,
            env,
            cfg["obs_groups"],
            cfg["num_steps_per_env"],
            **algorithm_cfg,
            max_iterations=cfg["max_iterations"],
            device=device,
            multi_gpu_cfg=cfg["multi_gpu"],
        )
