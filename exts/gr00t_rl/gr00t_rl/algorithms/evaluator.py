# SPDX-License-Identifier: BSD-3-Clause
"""Evaluations in the course of a run: the policy without exploration noise, in the run's own envs."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
import torch.distributed as dist

from ..utils.episode_recorder import EpisodeRecorder
from ..utils.errors import ConfigurationError
from ..utils.play import play_episodes
from ..utils.rng import rng_state, seed_all, set_rng_state
from ..utils.stop import StopRequest
from ..utils.timers import LapTimer

logger = logging.getLogger(__name__)

SEED = 0
"""What evaluations draw from, of rank 0: as far as an env draws from torch, all of them have the same starts."""


@dataclasses.dataclass(frozen=True)
class Score:
    """What an evaluation found, over all ranks."""

    iteration: int
    """Whose model_N.pt was evaluated."""
    episodes: int
    """First episodes, one per env."""
    successes: int | None
    """Those that succeeded; None if the env does not say."""
    mean_return: float | None
    """Mean of the undiscounted returns. One that is not finite counts as the lowest finite one; None if none is."""
    conditions: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Under what it was measured: scores of other conditions cannot be compared."""

    @property
    def value(self) -> float | None:
        """What the best is chosen by: the success rate, or the mean return where the env reports no success."""
        return self.mean_return if self.successes is None else self.successes / self.episodes

    def beats(self, other: Score | None) -> bool:
        """Whether this one becomes the best: ties do, and one that is measured by something else."""
        if self.value is None:
            return False
        if other is None or other.value is None or (self.successes is None) != (other.successes is None):
            return True
        return self.value >= other.value

    def metrics(self) -> dict[str, float]:
        """Return the metrics by tag."""
        found = {"charts/eval_episodes": float(self.episodes)}
        if self.mean_return is not None:
            found["charts/eval_return"] = self.mean_return
        if self.successes is not None:
            found["charts/eval_success_rate"] = self.successes / self.episodes
        return found


class Evaluated(Protocol):
    """What is read of an algorithm here; see :class:`~gr00t_rl.algorithms.base.DecisionAlgorithm`."""

    actor: Any
    env: Any
    device: str
    iteration: int
    num_steps: int
    rank: int
    gpu_world_size: int
    stop: StopRequest | None
    render_timer: LapTimer


class Evaluator:
    """Plays one whole episode per env at the end of an iteration, and knows the best result of the run.

    It is made after an iteration's update, so that the evaluated weights are those of the iteration's checkpoint, and
    leaves no trace in the training: generators and the env's step counter are put back, ``env.evaluating`` tells the
    terms of an env that keep statistics to leave these episodes out and those with a curriculum to set the full task,
    and the next rollout begins with a reset of all envs. Actions are those of ``gr00t-rl evaluate``: the mean, or the
    ODE's chunk from the initial noise that the policy was trained with.

    A run that is asked to stop breaks an evaluation off, without a result, and leaves at the begin of the next rollout;
    it is not made up for.

    Args:
        algorithm: Whose actor is evaluated.
    """

    def __init__(self, algorithm: Evaluated) -> None:
        self._alg = algorithm
        self.interval: int | None = None
        """Iterations between two evaluations; None for none."""
        self.best: Score | None = None
        """The best of the run and of those that it goes on from."""
        self.newest: Score | None = None
        """The last one of this process."""
        self.left_envs = False
        """Whether the envs stand where an evaluation left them."""
        self.last: int | None = None
        """Where a runner trains: number of its last iteration."""
        self._broken_off: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def training(self, iterations: int, broken_off: Callable[[], None]) -> Iterator[None]:
        """Evaluate within the ``with`` block, while a runner trains.

        Args:
            iterations: Iterations to do; the last one is evaluated whatever the interval.
            broken_off: Called when the episodes under way have been broken off, for whoever counts them.

        Raises:
            ConfigurationError: If the env cannot be evaluated.
        """
        self._check_env()
        self.last, self._broken_off = self._alg.iteration + iterations - 1, broken_off
        try:
            yield
        finally:
            self.last = None

    def _check_env(self) -> None:
        """Refuse envs that cannot be reset, and say so where training would see the begin of episodes only."""
        interval = self.interval or 1
        env, steps = self._alg.env, interval * self._alg.num_steps
        if not hasattr(env, "reset"):
            raise ConfigurationError(
                f"agent.evaluation_interval is {interval}, but {type(env).__name__} has no reset(); set it to null"
            )
        longest = int(env.max_episode_length)
        if steps < longest and self._alg.rank == 0:
            logger.warning(
                "[gr00t_rl] agent.evaluation_interval=%d resets all envs every %d steps, and an episode may have %d: "
                "nothing is learned about what comes later in it; set at least %d",
                *(interval, steps, longest, math.ceil(longest / self._alg.num_steps)),
            )

    @property
    def made_now(self) -> bool:
        """Whether the present weights have been evaluated by this process."""
        return self.newest is not None and self.newest.iteration == self._alg.iteration - 1

    @property
    def is_best(self) -> bool:
        """Whether the present weights are the best so far."""
        return self.made_now and self.newest is self.best

    def look(self) -> dict[str, float]:
        """Evaluate after an iteration's update if that is due, and return the metrics; all ranks come here together."""
        done = self._alg.iteration - 1
        if self.interval is None or self.last is None or (done % self.interval and done != self.last):
            return {}
        began = time.perf_counter()
        score = self._score(done, self._play())
        if score is None:
            return {}
        self.newest = score
        if score.beats(self.best):
            self.best = score
        return score.metrics() | {"perf/evaluation": time.perf_counter() - began}

    @torch.inference_mode()
    def _play(self) -> EpisodeRecorder | None:
        """Play the first episode of every env; None if the run was asked to stop."""
        alg, number, longest = self._alg, self._alg.env.num_envs, int(self._alg.env.max_episode_length)

        def asked() -> bool:
            return alg.stop is not None and alg.stop.asked

        with self._off_the_training_path():
            recorder, _ = play_episodes(
                alg.env,
                alg.actor,
                lambda: EpisodeRecorder(number, number, alg.env.device),
                on_poll=lambda steps, _: steps >= longest or asked(),
                poll_every=1,
            )
            if int(recorder.ended) < number:
                if asked():
                    return None
                recorder.cut()  # nothing but a clock ends some envs' episodes, and theirs is another one
        return recorder

    @contextlib.contextmanager
    def _off_the_training_path(self) -> Iterator[None]:
        """Put back afterwards what an evaluation changes, except where the envs stand."""
        alg = self._alg
        unwrapped: Any = getattr(alg.env, "unwrapped", alg.env)
        generators, training = rng_state(alg.device), alg.actor.training
        kept = {
            name: getattr(unwrapped, name)
            for name in ("common_step_counter", "new_episodes_decide", "decision_due")
            if hasattr(unwrapped, name)
        }
        unwrapped.evaluating = True
        unwrapped.decision_due = torch.ones(alg.env.num_envs, dtype=torch.bool, device=alg.device)
        alg.actor.eval()
        seed_all(SEED + alg.rank)
        self.left_envs = True
        try:
            yield
        finally:
            unwrapped.evaluating = False
            unwrapped.new_episodes_decide = True
            for name, value in kept.items():
                setattr(unwrapped, name, value)
            alg.actor.train(training)
            alg.actor.reset()
            alg.render_timer.totals()  # pictures of the evaluation are in its own time
            set_rng_state(generators, alg.device)
            self._broken_off()

    def _score(self, iteration: int, recorder: EpisodeRecorder | None) -> Score | None:
        """Return the result of all ranks; None if one of them broke off."""
        sums = torch.zeros(5, dtype=torch.float64)  # broken off, says success, successes, finite returns, their sum
        lowest = torch.full((1,), torch.inf, dtype=torch.float64)
        sums[0] = recorder is None
        if recorder is not None:
            found = recorder.episodes()
            returns = torch.from_numpy(found.returns)
            fine = returns.isfinite()
            sums[3], sums[4] = fine.sum(), returns[fine].sum()
            lowest[0] = returns[fine].min() if fine.any() else torch.inf
            if found.success is not None:
                sums[1], sums[2] = 1, int(found.success.sum())
        world = self._alg.gpu_world_size
        if world > 1:
            sums, lowest = sums.to(self._alg.device), lowest.to(self._alg.device)
            dist.all_reduce(sums)
            dist.all_reduce(lowest, dist.ReduceOp.MIN)
        broken, says, successes, finite, total = sums.tolist()
        if broken:
            return None
        episodes = world * self._alg.env.num_envs
        mean = (total + (episodes - finite) * lowest.item()) / episodes if finite else None
        return Score(iteration, episodes, int(successes) if says else None, mean, self.conditions())

    def conditions(self) -> dict[str, Any]:
        """Return under what this run evaluates; what an env or actor does not tell is missing."""
        env: Any = getattr(self._alg.env, "unwrapped", self._alg.env)
        found = {
            "task": getattr(getattr(env, "spec", None), "id", None),
            "episode length": int(self._alg.env.max_episode_length),
            **{name: getattr(self._alg.actor, name, None) for name in ("n_action_steps", "init_noise_scale")},
        }
        return {name: value for name, value in found.items() if value is not None}

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any] | None:
        """Return the best result, for a checkpoint."""
        return None if self.best is None else dataclasses.asdict(self.best)

    def restore(self, state: dict[str, Any] | None) -> None:
        """Restore what :meth:`state` returned."""
        self.best = None if state is None else Score(**state)
