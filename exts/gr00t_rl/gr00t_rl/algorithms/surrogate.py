# SPDX-License-Identifier: BSD-3-Clause
"""What PPO and GRPO share: epochs of clipped-surrogate steps over the decisions of one iteration."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Self

import torch
import torch.distributed as dist
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import nn

from ..memory.micro_batches import micro_batch_of_run
from ..models.policy import PolicyEvaluation
from ..options import SurrogateOptions
from ..utils.errors import ConfigurationError
from ..utils.rsl_rl_versions import reduce_gradients_in_buckets
from .base import DecisionAlgorithm
from .gate import UpdateGate
from .guard import NonFiniteGuard
from .health import SuccessWatch, has_curriculum
from .losses import approx_kl, clipped_surrogate, probability_ratio
from .mini_batches import every, num_units, shuffled, split
from .optimizer import ACTOR, CRITIC, actor_parts, check_parts, critic_part, load_optimizer, make_optimizer
from .ranks import Moments, Tally
from .schedules import RateController, Schedule


class TargetKlExceeded(Exception):
    """The policy has moved further than ``target_kl``: the iteration's update ends before the step."""


class ClippedSurrogate(DecisionAlgorithm):
    """Minibatch steps on the clipped surrogate; a sub-class brings the advantages and what else is in its loss.

    Several ranks learn as one process with all their decisions would: minibatch i of an epoch is the union of the
    ranks' i-th minibatches, and its loss the mean over all its decisions, however many each rank brings.

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
        fixed_noise: str | None = getattr(actor, "fixed_noise", None)
        if options.entropy_coef > 0 and fixed_noise is not None:
            raise ConfigurationError(f"agent.algorithm.entropy_coef is {options.entropy_coef}, but {fixed_noise}")
        self.parts = actor_parts(actor, self.actor_parameters, options)
        if critic is not None:
            self.parts.append(critic_part(critic, self.critic_parameters, options))
        check_parts(self.parts, options)
        self.optimizer = make_optimizer(self.parts, options)
        schedules = [
            Schedule(part.schedule, part.warmup_iterations, part.begins) for part in self.parts for _ in part.groups()
        ]
        self.rates = RateController(self.optimizer, schedules, max_iterations, options.desired_kl)
        suffix = self.quarantine.dumps.suffix  # a rank's dumps have one name
        self.guard = NonFiniteGuard(options.max_nonfinite_steps, getattr(env.cfg, "log_dir", None), self.rescue, suffix)
        divisor = "agent.algorithm.micro_batch_size to a divisor of a minibatch"
        remedies = (divisor,) if options.recompute_log_probs else ("agent.algorithm.recompute_log_probs=auto",)
        remedies = (*remedies, *getattr(actor, "numeric_remedies", ()))
        self.recomputes = options.recompute_log_probs is True
        """Whether the update computes the old log-probabilities itself; with "auto", the gate decides."""
        self.gate = UpdateGate(device, self.gpu_world_size, self.rank == 0, remedies)
        self.success_watch = SuccessWatch(int(env.max_episode_length))
        self.batch: TensorDict
        chosen = options.micro_batch_size
        self.micro_batch_size: int | None = chosen if isinstance(chosen, int) else None
        """Decisions per forward pass; None: the whole minibatch. "auto" is replaced once all models are made."""

    @classmethod
    def construct_algorithm(cls, obs: TensorDict, env: VecEnv, cfg: dict, device: str) -> Self:
        """Build models and algorithm, see :class:`DecisionAlgorithm`, and choose the size of micro-batches."""
        algorithm = super().construct_algorithm(obs, env, cfg, device)
        if algorithm.options.micro_batch_size == "auto":
            algorithm.micro_batch_size = micro_batch_of_run(algorithm, obs, env, cfg)
        return algorithm

    def load(self, loaded_dict: dict[str, Any], load_cfg: dict | None, strict: bool) -> bool:
        """Restore what :meth:`save` returned, see :class:`DecisionAlgorithm`; annealing ends with the new run."""
        resumed = super().load(loaded_dict, load_cfg, strict)
        if resumed:
            self.rates.resume_at(self.iteration)
        return resumed

    def _load_optimizer(self, state: dict[str, Any]) -> None:
        load_optimizer(self.optimizer, state, {ACTOR: self.actor, CRITIC: self.critic})

    # -- what sub-classes fill in ----------------------------------------------------------------------------------

    def _prepare(self, batch: TensorDict) -> torch.Tensor:
        """Complete the decisions ``batch`` [B] in place; return the rows to learn from, int64 [R], possibly none."""
        return torch.arange(len(batch), device=self.device)

    def _loss(self, terms: dict[str, torch.Tensor]) -> torch.Tensor:
        """Combine the terms of :meth:`_loss_terms` into the loss of each decision [B]."""
        raise NotImplementedError

    def _tally(self, tally: Tally, batch: TensorDict) -> None:
        """Add what further metrics of the iteration are made of."""

    def _describe(self, moments: dict[str, Moments]) -> dict[str, float]:
        """Return further metrics of the iteration from what :meth:`_tally` added on all ranks."""
        return {}

    def _watch_success(self, moments: dict[str, Moments]) -> None:
        """Say once that the success has fallen: that of the evaluations, or in training where there are none."""
        if self.rank != 0:
            return
        if self.evaluator.interval is not None:
            if self.evaluator.made_now:
                self.success_watch.look_evaluated(self.evaluator.newest, self.evaluator.best)
        elif not has_curriculum(self.env):
            self.success_watch.look_trained(self.iteration - 1, self.num_steps, *self._successes(moments))

    def _successes(self, moments: dict[str, Moments]) -> tuple[int, int]:
        """Return how many episodes of the iteration succeeded and how many ended, on all ranks."""
        return int(moments["successes"].total), int(moments["endings"].total)

    @property
    def _warming_up(self) -> bool:
        """Whether the actor does not learn yet."""
        return False

    # -- the update ------------------------------------------------------------------------------------------------

    def update(self) -> dict[str, float]:
        """Run the epochs over the iteration's decisions and return the metrics, those of all ranks together."""
        start = time.perf_counter()
        if self.memory is not None:
            self.batch = self.memory.in_sequence(self.batch)
        batch, tally = self.batch, Tally(self.device, self.gpu_world_size)
        rows = self._prepare(batch)
        if self.recomputes:
            self._recompute_log_probs(batch, rows)
        if hasattr(self.actor, "begin_iteration"):  # of a network whose parts begin to learn one after another
            self.actor.begin_iteration(self.iteration)  # type: ignore[operator]
        gate = {} if self.gate.passed or self._warming_up else self._pass_gate(batch, rows)
        self.rates.begin_iteration(self.iteration)
        learned = self._run_epochs(batch, rows, tally)
        adapts = learned and self.rates.is_adaptive and not self._warming_up
        if adapts:
            tally.report("final_kl", *self._final_kl(batch, rows))
        self._tally(tally, batch)
        tally.add("perf/decisions", float(len(batch)))
        costs = self._costs()
        for name, value in costs.items():
            tally.add(name, value)
        metrics, moments = tally.exchange()
        if adapts:
            self.rates.end_iteration(metrics["final_kl"])
        metrics |= self._describe(moments) | gate
        metrics |= self._part_rates()
        metrics["nonfinite_steps"] = float(self.guard.total)
        metrics["nonfinite_envs"] = float(self.quarantine.count)  # of all ranks too
        metrics["perf/decisions"] = moments["perf/decisions"].total
        metrics |= {name: moments[name].high for name in costs}  # those of the rank that needs most
        metrics["perf/update"] = time.perf_counter() - start
        self._end_iteration(batch)
        metrics |= self.evaluator.look()
        self._watch_success(moments)
        metrics["perf/decisions_per_s"] = self._decisions_per_s(metrics["perf/decisions"])
        return metrics

    def _run_epochs(self, batch: TensorDict, rows: torch.Tensor, tally: Tally) -> bool:
        """Take the optimiser steps of one iteration; return whether there was anything to learn from."""
        num_mini_batches = self._agreed_mini_batches(num_units(rows, self._env_of(batch)))
        totals: dict[str, torch.Tensor] = {}
        num_steps, stopped = 0, False
        try:
            for index in self._minibatches(batch, rows, num_mini_batches):
                metrics = self._minibatch_step(batch[index])
                if metrics is None:
                    continue
                for name, value in metrics.items():
                    totals[name] = totals.get(name, 0.0) + value
                num_steps += 1
        except TargetKlExceeded:
            stopped = True
        for name, total in totals.items():
            tally.report(name, total, num_steps / self.gpu_world_size)
        if num_mini_batches > 0:
            tally.report("optimizer_steps", float(num_steps), 1)
            if self.options.target_kl is not None:
                tally.report("stopped_by_kl", float(stopped), 1)
        return num_mini_batches > 0

    def _minibatches(self, batch: TensorDict, rows: torch.Tensor, number: int) -> Iterator[torch.Tensor]:
        """Iterate over the rows of the minibatches of all epochs, ``number`` per epoch; some may be empty."""
        env = self._env_of(batch)
        for _ in range(self.options.num_learning_epochs if number > 0 else 0):
            yield from shuffled(rows, number, env)

    def _agreed_mini_batches(self, units: int) -> int:
        """Return the number of minibatches, alike on all ranks: as many as the rank with most units can fill."""
        if self.gpu_world_size > 1:
            most = torch.tensor(units, device=self.device)
            dist.all_reduce(most, dist.ReduceOp.MAX)
            units = int(most)
        return min(self.options.num_mini_batches, units)

    def _minibatch_step(self, minibatch: TensorDict) -> dict[str, torch.Tensor] | None:
        """Take one optimiser step on the mean over the rows of all ranks' minibatches, each row counting alike.

        The gradient of all micro-batches together is that of the whole minibatch.

        Args:
            minibatch: Rows of this rank [B]; none where it has fewer than the others.

        Returns:
            This rank's share of the metrics, whose sum over ranks is the metric, or None if the gradient was not
            finite and no step was taken.

        Raises:
            TargetKlExceeded: If the policy has moved further than ``target_kl`` on the minibatch; no step was taken.
        """
        num_rows = len(minibatch)
        if num_rows == 0:  # it takes part in the others' step all the same, with a row that does not count
            minibatch = self.batch[torch.zeros(1, dtype=torch.long, device=self.device)]
        self.optimizer.zero_grad()
        if self.rnd is not None:
            self.rnd.optimizer.zero_grad()
        sums: dict[str, torch.Tensor] = {}
        for micro in self._split(minibatch, self.micro_batch_size or len(minibatch)):
            terms = self._loss_terms(micro)
            (self._loss(terms).sum() / len(minibatch)).backward()
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + (term.detach().sum() if num_rows > 0 else torch.zeros_like(term[0]))
        all_rows, kl = self._over_ranks(num_rows, sums.get("approx_kl"))
        target = self.options.target_kl
        if target is not None and kl is not None and (kl / all_rows).item() > target:
            raise TargetKlExceeded
        if self.gpu_world_size > 1:
            self._reduce_gradients(num_rows, all_rows)
        norms = {f"grad_norm_{part.name}": part.clip() for part in self.parts}
        grad_norm = nn.utils.clip_grad_norm_(self.parameters(), self.options.max_grad_norm)
        bounded = [norm for norm in norms.values() if norm is not None]  # one that overflowed leaves zeros behind
        if not self.guard.allows(self._guarded(sum(bounded, grad_norm)), minibatch, self.iteration):
            return None
        self._optimizer_step()
        metrics = {name: total / all_rows for name, total in sums.items()}
        norms["grad_norm"] = grad_norm.detach()
        for name, norm in norms.items():
            if norm is not None:
                metrics[name] = norm / self.gpu_world_size  # the same on all ranks
        return metrics

    def _part_rates(self) -> dict[str, float]:
        """Return the rates of the actor's parts that have settings of their own."""
        groups = self.optimizer.param_groups
        own = [group for group in groups if group["part"] != CRITIC and self.options.parts.get(group["part"])]
        return {f"learning_rate_{group['part']}": group["lr"] for group in own}

    def _over_ranks(self, num_rows: int, kl: torch.Tensor | None) -> tuple[int, torch.Tensor | None]:
        """Return the rows of a minibatch, and the sum over them of KL(old || current), of all ranks together."""
        if self.gpu_world_size == 1:
            return num_rows, kl
        sums = torch.zeros(2, device=self.device)
        sums[0], sums[1] = num_rows, 0.0 if kl is None else kl
        dist.all_reduce(sums)
        return int(sums[0]), None if kl is None else sums[1]

    def _reduce_gradients(self, num_rows: int, all_rows: int) -> None:
        """Turn the gradient of the mean over this rank's rows into that of the mean over the rows of all ranks."""
        trained = chain(self.parameters(), self.rnd.predictor.parameters() if self.rnd is not None else ())
        learning = [p for p in trained if p.grad is not None]
        for gradient in (p.grad for p in learning if p.grad is not None):
            if num_rows > 0:
                gradient.mul_(num_rows * self.gpu_world_size / all_rows)
            else:
                gradient.zero_()
        # the mean over ranks
        reduce_gradients_in_buckets(learning, self.gpu_world_size, self.options.grad_reduce_bucket_mb)

    def _guarded(self, grad_norm: torch.Tensor) -> torch.Tensor:
        """Return a scalar that is finite if all gradients are: the policy's norm, and that of curiosity's predictor."""
        if self.rnd is None:
            return grad_norm
        gradients = [p.grad for p in self.rnd.predictor.parameters() if p.grad is not None]
        # squares are what Adam's moments hold
        return grad_norm + nn.utils.get_total_norm(gradients).square()

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
        o = self.options
        log_ratio = policy.log_prob - micro["log_prob"]
        ratio = probability_ratio(log_ratio)
        high = o.clip_param if o.clip_param_high is None else o.clip_param_high
        clipped = (ratio.detach() < 1.0 - o.clip_param) | (ratio.detach() > 1.0 + high)
        return {
            "policy": clipped_surrogate(ratio, micro["advantage"], o.clip_param, o.clip_param_high, o.dual_clip),
            "entropy": policy.entropy,
            "approx_kl": approx_kl(log_ratio.detach()),
            "clipfrac": clipped.float(),
        }

    def _pass_gate(self, batch: TensorDict, rows: torch.Tensor) -> dict[str, float]:
        """Compare the log-probabilities of rows [R] with the rollout's, and recompute them from now on if need be."""
        remedies = self.options.recompute_log_probs == "auto"
        remedy = (
            "the update computes the old log-probabilities itself from now on (agent.algorithm.recompute_log_probs)"
        )
        found = self.gate.look(self._gate_rows(batch, rows), remedy if remedies else None)
        if remedies and self.gate.differs:
            self.recomputes = True
            self._recompute_log_probs(batch, rows)
            found = self.gate.look(self._gate_rows(batch, rows))
        return found

    def _gate_rows(self, batch: TensorDict, rows: torch.Tensor) -> Iterator[tuple[torch.Tensor, PolicyEvaluation]]:
        """Iterate over micro-batches of a minibatch's worth of rows [R]: their log-probabilities, scored again."""
        for piece in self._sampled_pieces(batch, rows):
            yield batch["log_prob"][piece], self._evaluate(batch[piece])

    @torch.no_grad()
    def _recompute_log_probs(self, batch: TensorDict, rows: torch.Tensor) -> None:
        """Replace the log-probabilities of ``rows`` [R], perhaps none, by those of the update's own batch shape."""
        for part in self._pieces(batch, rows, self._pass_size(len(rows))) if len(rows) > 0 else ():
            batch["log_prob"][part] = self._evaluate(batch[part]).log_prob

    @torch.no_grad()
    def _final_kl(self, batch: TensorDict, rows: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Return KL(old || new) after the last step, in closed form: its sum over a minibatch's worth of rows [R]."""
        pieces = list(self._sampled_pieces(batch, rows))
        if not pieces:
            return torch.zeros((), device=self.device), 0
        kl = torch.stack([self._evaluate(batch[piece]).kl.sum() for piece in pieces]).sum()
        return kl, sum(map(len, pieces))

    def _sampled_pieces(self, batch: TensorDict, rows: torch.Tensor) -> Iterable[torch.Tensor]:
        """Return a minibatch's worth of the rows [R], of all times, in pieces of a micro-batch; none of no rows."""
        chosen = every(self.options.num_mini_batches, rows, self._env_of(batch))
        return self._pieces(batch, chosen, self.micro_batch_size or len(chosen)) if len(chosen) > 0 else ()

    def _pass_size(self, num_rows: int) -> int:
        """Return the number of decisions of one forward pass over ``num_rows`` of them."""
        return self.micro_batch_size or -(-num_rows // self.options.num_mini_batches)

    def _split(self, batch: TensorDict, size: int) -> Iterable[TensorDict]:
        """Return pieces of about ``size`` decisions, in order."""
        return split(batch, size, self._env_of(batch))

    def _pieces(self, batch: TensorDict, rows: torch.Tensor, size: int) -> Iterable[torch.Tensor]:
        """Return pieces of about ``size`` of the rows [R], in order."""
        env = self._env_of(batch)
        numbered = TensorDict({"row": rows}, [len(rows)])
        return (piece["row"] for piece in split(numbered, size, None if env is None else env[rows]))

    def _env_of(self, batch: TensorDict) -> torch.Tensor | None:
        """Return the env of each decision [B] if what an env did must stay together: where a model is recurrent."""
        return None if self.memory is None else self.memory.env_of(batch)

    def _evaluate(self, stored: TensorDict) -> PolicyEvaluation:
        return self.policy.evaluate(self.policy.restore(stored))
