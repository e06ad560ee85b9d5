# SPDX-License-Identifier: BSD-3-Clause
"""What every algorithm here shares: the rollout of decisions, and what rsl_rl's runner asks for."""

from __future__ import annotations

import dataclasses
import logging
import time
from functools import partial
from itertools import chain
from typing import Any, Self

import torch
import torch.distributed as dist
from rsl_rl.env import VecEnv
from rsl_rl.extensions import RandomNetworkDistillation, resolve_rnd_config
from rsl_rl.models import MLPModel
from rsl_rl.utils import resolve_obs_groups
from tensordict import TensorDict
from torch import nn

from ..models.chunk_queue import ChunkQueue
from ..models.policy import DecisionPolicy, StepPolicy
from ..models.recurrent import RecurrentMemory, RecurrentStepPolicy
from ..options import SurrogateOptions
from ..storage import DecisionStorage
from ..utils import runner_files
from ..utils.devices import one_thread_on_cpu
from ..utils.errors import ConfigurationError
from ..utils.log_writer import metric_logger
from ..utils.moments import RewardScaler
from ..utils.process_group import any_rank
from ..utils.rsl_rl_versions import check_ranks, model_class, resolve_class
from ..utils.stop import StopRequest
from ..utils.timers import LapTimer
from .contract import refuse_unsupported
from .episodes import Endings
from .evaluator import Evaluator
from .quarantine import Quarantine
from .resume import leave, rescue, restore_run_state, run_state, state_before_rollout
from .time_outs import warn_of_missing_final_obs

NORMALIZED_AT_ONCE = 256
"""Decisions whose features are in memory at once while a critic's normaliser reads them."""


logger = logging.getLogger(__name__)


class DecisionAlgorithm:
    """Collects decisions of one or several env steps; sub-classes learn from them in :meth:`update`.

    Args:
        actor: A :class:`~gr00t_rl.models.policy.DecisionPolicy` module, or any stochastic rsl_rl model.
        critic: An rsl_rl model with one output, or None for algorithms that need no values.
        env: The vectorised env; only its shape, and the flag by which image terms learn who will look, are used.
        obs_groups: Names of the observation groups of the sets "actor" and "critic".
        num_steps: Env steps per iteration.
        options: Options of the algorithm.
        device: Device of models and storage.
        multi_gpu_cfg: rsl_rl's description of the process group, or None.
    """

    learns_values = True
    """Whether the algorithm has a critic; the runner's "critic" is not read otherwise."""
    options_type: type[SurrogateOptions] = SurrogateOptions
    """Declares the options of the algorithm."""

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
    ) -> None:
        self.device = device
        self.gpu_world_size = multi_gpu_cfg["world_size"] if multi_gpu_cfg else 1
        self.actor, self.critic = actor.to(device), None if critic is None else critic.to(device)
        self.options = options
        rnd_cfg = getattr(options, "rnd_cfg", None)
        # the runner reads both: curiosity, held as an object like in rsl_rl's own PPO, and its last rewards [N]
        self.rnd = RandomNetworkDistillation(device=device, **rnd_cfg) if rnd_cfg else None
        self.intrinsic_rewards: torch.Tensor | None = None
        sets = ("actor", *(("critic",) if critic is not None else ()), *(("rnd_state",) if self.rnd else ()))
        read = chain.from_iterable(obs_groups[name] for name in sets)
        groups = list(dict.fromkeys(read))
        recurrent = {n: m for n, m in (("actor", actor), ("critic", critic)) if getattr(m, "is_recurrent", False)}
        self.memory = RecurrentMemory(recurrent, env.num_envs, device) if recurrent else None  # type: ignore[arg-type]
        self.policy = self._make_policy(groups)
        n_action_steps, aligned = self.policy.n_action_steps, self.policy.align_decisions
        self.storage = DecisionStorage(env.num_envs, num_steps, options.gamma, device, n_action_steps, aligned)
        self.policy.expect(self.storage.room)
        self.queue = ChunkQueue(env.num_envs, n_action_steps, env.num_actions, device, aligned)
        if aligned:
            unwrapped: Any = getattr(env, "unwrapped", env)
            unwrapped.new_episodes_decide = False  # their first pictures are those of the next common decision
        self.reward_scaler: RewardScaler | None = None
        self.endings = Endings(device)
        self.newest_checkpoint: str | None = None
        """The newest file of this run that was checked to be finite."""
        self.rank = multi_gpu_cfg["global_rank"] if multi_gpu_cfg else 0
        log_dir = getattr(env.cfg, "log_dir", None)
        self.rescue = partial(rescue, self, log_dir, self.rank == 0)
        self.stop: StopRequest | None = None
        """Where a runner trains: whether SIGTERM has asked it to stop."""
        self.before_rollout: dict[str, dict[str, Any]] | None = None
        """Where a runner trains: what the iteration under way began with, by sections of a checkpoint."""
        self.quarantine = Quarantine(env, groups, options, device, self.rescue, log_dir, self.rank, self.gpu_world_size)
        self.env, self.num_steps = env, num_steps
        # parts may begin to learn later
        listed = {p for own in (getattr(actor, "trained_parts", None) or {}).values() for p in own}
        self.actor_parameters = [p for p in actor.parameters() if p.requires_grad or p in listed]
        # encoders that both share are the actor's
        shared = set(self.actor_parameters)
        values = () if critic is None else critic.parameters()
        self.critic_parameters = [p for p in values if p.requires_grad and p not in shared]
        self.optimizer: torch.optim.Optimizer
        self.evaluator = Evaluator(self)
        self.iteration = 0
        self._step = 0
        self.timer = LapTimer(device)
        self._began: float | None = None  # when the iteration did, by the host's clock [s]
        self.render_timer = LapTimer(device)
        """What pictures take: image terms of the env note it, while there is training."""

    def _make_policy(self, obs_groups: list[str]) -> DecisionPolicy:
        """Return the actor, or what lets an rsl_rl model decide at every env step."""
        actor: Any = self.actor
        if hasattr(actor, "decide"):
            return actor
        if self.memory is not None and actor.is_recurrent:
            return RecurrentStepPolicy(actor, obs_groups, self.memory)
        return StepPolicy(actor, obs_groups)

    # -- rollout ---------------------------------------------------------------------------------------------------

    def act(self, obs: TensorDict) -> torch.Tensor:
        """Return the next action of every env [N, A]; envs whose chunk is used up decide first."""
        if self._step == 0 and self.stop is not None:
            self.before_rollout = state_before_rollout(self)
        if self._step == 0 or self.gpu_world_size == 1:
            self._leave_if_asked()
        if self._began is None:
            self._began = time.perf_counter()
        if self._step == 0:
            obs = self._begin_rollout(obs)
            self.quarantine.admit(obs, self.iteration)
        ids = self.queue.due_ids()
        if ids.numel() > 0:
            self.timer.start()
            # indexing copies: what is stored must not change when the env reuses its observation buffers
            observed = self.policy.observe(obs[ids])
            if self.memory is not None:
                self.memory.recall(ids, observed)
            self.timer.lap("encode")
            chunk, record = self.policy.decide(observed)
            self.timer.lap("denoise")
            if self.critic is not None:
                record["value"] = self.critic(record).squeeze(-1)
            if self.memory is not None:
                self.memory.keep(ids)
            self.storage.open(ids, self.policy.store(record))
            self.queue.push(ids, chunk)
            self.timer.lap("store")
        action = self.queue.pop(self.policy.hold_action(obs))
        self._step += 1
        # image terms render only if somebody will look at the next observation; at the iteration's end the critic does
        everyone = self._step == self.num_steps and self.critic is not None
        unwrapped: Any = getattr(self.env, "unwrapped", self.env)
        unwrapped.decision_due = torch.ones_like(self.queue.due) if everyone else self.queue.due
        self.quarantine.dumps.remember(action)
        self.timer.start()
        return action

    def _begin_rollout(self, obs: TensorDict) -> TensorDict:
        """Return the observations [N] that an iteration begins with, where the last one ended at ``obs``."""
        return self._reset_envs() if self.evaluator.left_envs else obs

    def _reset_envs(self) -> TensorDict:
        """Reset all envs, and forget the episodes that this breaks off; returns what the envs see [N]."""
        unwrapped: Any = getattr(self.env, "unwrapped", self.env)
        unwrapped.decision_due = torch.ones_like(self.queue.due)
        self.timer.start()
        obs, extras = self.env.reset()  # type: ignore[attr-defined]
        self.timer.lap("env")
        extras["log"] = {}  # what it says is about episodes that were broken off
        self.quarantine.release()
        if self.memory is not None:
            self.memory.reset()
            self.memory.begin()
        if self.reward_scaler is not None:
            self.reward_scaler.returns.zero_()
        self.evaluator.left_envs = False
        return obs.to(self.device)

    def process_env_step(
        self, obs: TensorDict, rewards: torch.Tensor, dones: torch.Tensor, extras: dict[str, Any]
    ) -> None:
        """Add one env step to the running decisions; envs that were reset decide anew at the next step."""
        self.timer.lap("env")
        dones, extras, left_out = self.quarantine.inspect(obs, rewards, dones, extras)
        if left_out is not None:
            self.storage.discard(left_out)
        if self.reward_scaler is not None:
            rewards = self.reward_scaler(rewards, dones, left_out)
        if self.rnd is not None:
            self.intrinsic_rewards = self.rnd.get_intrinsic_reward(obs)
            rewards = rewards + self.intrinsic_rewards
        self.storage.step(rewards, dones, self._time_out_values(dones, extras))
        self.endings.step(dones, extras.get("success"))
        self.queue.clear(dones)
        self._reset_models(dones)

    def _end_rollout(self) -> None:
        """Look at what the iteration's rollout brought, before anything is computed from it."""
        self._leave_if_asked()
        self.quarantine.settle(self.iteration, self.storage)

    def _leave_if_asked(self) -> None:
        """Save and leave where the run was asked to stop.

        The state from before the iteration is saved: the rollout so far is given up. Several ranks must come here
        together, which they do before and after a rollout; one process alone, at every env step.
        """
        if self.stop is not None and any_rank(self.stop.asked, self.device, self.gpu_world_size):
            leave(self.rescue, self.iteration, self.stop)

    def _reset_models(self, dones: torch.Tensor) -> None:
        """Tell the models which envs were reset, [N]."""
        self.actor.reset(dones)  # type: ignore[operator]
        if self.critic is not None:
            self.critic.reset(dones)  # type: ignore[operator]
        if self.memory is not None:
            self.memory.reset(dones)

    def _time_out_values(self, dones: torch.Tensor, extras: dict[str, Any]) -> torch.Tensor | None:
        """Return V(final observation) where a time-out ended the episode and 0 elsewhere, [N]; None without any.

        An env that does not report it is bootstrapped as rsl_rl does it, see :mod:`.time_outs`.
        """
        time_outs = extras.get("time_outs")
        if time_outs is None:
            return None
        ended = time_outs.to(self.device).bool() & dones.bool()  # rsl_rl's own envs may report floats
        # an episode that also succeeded or failed in its last step has no future, whatever the clock says
        terminated = getattr(getattr(self.env, "unwrapped", self.env), "reset_terminated", None)
        if terminated is not None:
            ended &= ~terminated.to(self.device)
        ids = ended.nonzero().squeeze(-1)
        if ids.numel() == 0:
            return None
        if "final_obs" not in extras:
            warn_of_missing_final_obs()
            return torch.where(ended, self.storage.latest_values, 0.0)
        final_obs = TensorDict(extras["final_obs"], batch_size=[self.env.num_envs])[ids].to(self.device)
        values = torch.zeros(self.env.num_envs, device=self.device)
        values[ids] = self._value(final_obs, ids)
        return values

    def _value(self, obs: TensorDict, ids: torch.Tensor | None = None) -> torch.Tensor:
        """Return the critic's value of observations [B] of the envs ``ids`` (all without it).

        Features are computed only for critics that read them.
        """
        assert self.critic is not None
        reads_features = getattr(self.critic, "reads_features", False)
        observed = self.policy.observe(obs) if reads_features else obs
        values = self.critic(observed) if self.memory is None else self.memory.peek(self.critic, observed, ids)
        return values.squeeze(-1)

    def _end_iteration(self, batch: TensorDict) -> None:
        """Update the normalisers and make every env decide anew."""
        self.actor.update_normalization(batch)  # type: ignore[operator]
        if self.critic is not None:
            # a critic on features reads what was put elsewhere: brought back piece by piece
            reads_features = getattr(self.critic, "reads_features", False)
            pieces = (self.policy.restore(piece) for piece in batch.split(NORMALIZED_AT_ONCE))
            self.critic.update_normalization(pieces if reads_features else batch)  # type: ignore[operator]
        if self.rnd is not None:
            self.rnd.update_normalization(batch)
        self.iteration += 1
        self.before_rollout = None
        self.storage.clear()
        self.policy.forget()
        self.queue.clear()
        if self.memory is not None:
            self.memory.begin()
        self._step = 0

    def compute_returns(self, obs: TensorDict) -> None:
        """Compute the targets of the update from the rollout that ended at ``obs``."""
        raise NotImplementedError

    def update(self) -> dict[str, float]:
        """Learn from the rollout and return the metrics."""
        raise NotImplementedError

    def _costs(self) -> dict[str, float]:
        """Return the seconds of this iteration's env steps and decisions, and of their parts, and a GPU's memory."""
        laps = self.timer.totals()
        costs = {"perf/env": laps.pop("env", 0.0), "perf/decide": sum(laps.values())}
        costs["perf/render"] = sum(self.render_timer.totals().values())
        if self.policy is self.actor:
            costs |= {f"perf/{part}": laps.get(part, 0.0) for part in ("encode", "denoise", "store")}
        if torch.device(self.device).type == "cuda":
            costs["perf/peak_memory_gb"] = torch.cuda.max_memory_allocated(self.device) / 2**30
        return costs

    def _decisions_per_s(self, decisions: float) -> float:
        """Return how many of this iteration's decisions were learned from per second and device; the next begins."""
        now = time.perf_counter()
        seconds, self._began = now - (now if self._began is None else self._began), now
        return decisions / seconds / self.gpu_world_size if seconds > 0 else 0.0

    # -- what the runner asks for ----------------------------------------------------------------------------------

    @property
    def learning_rate(self) -> float:
        """The actor's current learning rate."""
        return self.optimizer.param_groups[0]["lr"]

    def train_mode(self) -> None:
        """Set train mode for learnable models."""
        self._set_mode(True)

    def eval_mode(self) -> None:
        """Set evaluation mode: normalisers are frozen."""
        self._set_mode(False)

    def _set_mode(self, trains: bool) -> None:
        unwrapped: Any = getattr(self.env, "unwrapped", self.env)
        # outside of training nobody asks what pictures take, and the timer would grow with each
        unwrapped.render_timer = self.render_timer if trains else None
        for module in self._modules():
            module.train(trains)

    def _modules(self) -> list[nn.Module]:
        return [m for m in (self.actor, self.critic, self.reward_scaler, self.rnd) if m is not None]

    def parameters(self) -> chain:
        """Iterate over the trained parameters of actor and critic."""
        return chain(self.actor_parameters, self.critic_parameters)

    def get_policy(self) -> MLPModel:
        """Return the actor."""
        return self.actor  # type: ignore[return-value]

    def save(self) -> dict[str, Any]:
        """Return the training state: trained parameters, normalisers, optimiser, counters, random generators.

        A GR00T actor contributes its trained parameters and a reference to the frozen ones, see
        :meth:`gr00t_rl.models.Gr00tActor.state_dict`. Only types that ``torch.load(weights_only=True)`` accepts.
        """
        state: dict[str, Any] = {
            "actor_state_dict": self.actor.state_dict(),
            "optimizer_state_dict": self.optimizer.state_dict(),
            "algorithm_state_dict": run_state(self),
        }
        if self.critic is not None:
            state["critic_state_dict"] = self.critic.state_dict()
        if self.rnd is not None:
            state["rnd_state_dict"] = self.rnd.state_dict()
            state["rnd_optimizer_state_dict"] = self.rnd.optimizer.state_dict()
        return state

    def load(self, loaded_dict: dict[str, Any], load_cfg: dict | None, strict: bool) -> bool:
        """Restore what :meth:`save` returned; ``load_cfg`` selects parts as in rsl_rl.

        Returns:
            Whether the runner should continue counting from the saved iteration.

        Raises:
            ConfigurationError: If the state belongs to another agent.
        """
        parts = ("actor", "critic", "optimizer", "iteration", "rnd")
        selected = load_cfg or dict.fromkeys(parts, True)
        try:
            if selected.get("actor"):
                self.actor.load_state_dict(loaded_dict["actor_state_dict"], strict=strict)
            if selected.get("critic") and self.critic is not None:
                self.critic.load_state_dict(loaded_dict["critic_state_dict"], strict=strict)
            if selected.get("optimizer"):
                self._load_optimizer(loaded_dict["optimizer_state_dict"])
            if selected.get("rnd") and self.rnd is not None:
                self.rnd.load_state_dict(loaded_dict["rnd_state_dict"], strict=strict)
                self.rnd.optimizer.load_state_dict(loaded_dict["rnd_optimizer_state_dict"])
                self.rnd.update_counter = loaded_dict["algorithm_state_dict"]["rnd_steps"]
            if selected.get("iteration"):
                restore_run_state(self, loaded_dict["algorithm_state_dict"])
        except ConfigurationError:
            raise  # says already what to set
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            missing = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            reason = " ".join(missing.split())[:300]
            raise ConfigurationError(
                f"the checkpoint does not fit this agent: {reason}; pass the checkpoint of a run with the same --task "
                "and --agent"
            ) from None
        return bool(selected.get("iteration", False))

    def _load_optimizer(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)

    def broadcast_parameters(self) -> None:
        """Copy rank 0's parameters and buffers to all ranks; the running returns of a rank's envs are its own."""
        modules = [m.moments if isinstance(m, RewardScaler) else m for m in self._modules()]
        for module in modules:
            for tensor in module.state_dict().values():
                if isinstance(tensor, torch.Tensor):
                    dist.broadcast(tensor, src=0)

    @classmethod
    def construct_algorithm(cls, obs: TensorDict, env: VecEnv, cfg: dict, device: str) -> Self:
        """Build models and algorithm from the runner's configuration.

        Args:
            obs: Example observations, batch size [N].
            env: The wrapped env.
            cfg: The runner's configuration as a dict; its "logger" entry is replaced by our writer.
            device: Device of models and storage.
        """
        one_thread_on_cpu(device)
        _, settings = resolve_class(cfg["algorithm"])
        actor_class, actor_cfg = model_class(cfg["actor"])
        critic_class, critic_cfg = model_class(cfg["critic"]) if cls.learns_values else (None, {})
        refuse_unsupported(cfg, settings, actor_class, critic_class)
        options = cls.options_type.parse(settings, "agent.algorithm")
        cfg["algorithm"].setdefault("rnd_cfg", None)  # the runner of rsl_rl 5.4 looks it up
        rnd_cfg = getattr(options, "rnd_cfg", None)
        sets = ["actor"] + ["critic"] * cls.learns_values + ["rnd_state"] * bool(rnd_cfg)
        cfg["obs_groups"] = resolve_obs_groups(obs, cfg["obs_groups"], sets)
        if rnd_cfg:
            resolved = resolve_rnd_config({"rnd_cfg": dict(rnd_cfg)}, obs, cfg["obs_groups"], env)
            options = dataclasses.replace(options, rnd_cfg=resolved["rnd_cfg"])  # pyright: ignore[reportCallIssue]
        cfg["check_for_nan"] = False  # it would end the run; what is not finite is left out instead, see Quarantine
        cfg["logger"] = metric_logger(cfg.get("logger", "tensorboard"), cfg)
        runner_files.install(DecisionAlgorithm)
        if "instruction" in actor_cfg and actor_cfg["instruction"] is None:
            # an env whose observations say which instruction it is given has a list of them
            several = getattr(env.cfg, "instructions", None) if "instruction" in obs.keys() else None  # noqa: SIM118
            actor_cfg["instruction"] = several or getattr(env.cfg, "instruction", None)
            if actor_cfg["instruction"] is None:
                logger.warning(
                    "[gr00t_rl] neither env nor agent has an instruction: the network is given a default one, which "
                    "names no task; set instruction in the env cfg, or agent.actor.instruction"
                )
        actor = actor_class(obs, cfg["obs_groups"], "actor", env.num_actions, **actor_cfg).to(device)
        rank = cfg["multi_gpu"]["global_rank"] if cfg["multi_gpu"] else 0
        if hasattr(actor, "describe") and rank == 0:
            print(f"[gr00t_rl] What is trained:\n{actor.describe()}", flush=True)
        if getattr(critic_class, "reads_features", False):
            critic_cfg["feature_dim"] = _feature_dim(actor, critic_class)
        if getattr(options, "share_cnn_encoders", False):
            critic_cfg["cnns"] = _encoders(actor)
        critic = critic_class and critic_class(obs, cfg["obs_groups"], "critic", 1, **critic_cfg).to(device)
        algorithm = cls(
            actor,
            critic,
            env,
            cfg["obs_groups"],
            cfg["num_steps_per_env"],
            options,
            device=device,
            multi_gpu_cfg=cfg["multi_gpu"],
            max_iterations=cfg.get("max_iterations"),  # pyright: ignore[reportCallIssue]  # of the sub-classes
        )
        algorithm.evaluator.interval = cfg.get("evaluation_interval")
        check_ranks(algorithm.gpu_world_size, algorithm._modules())
        return algorithm


def _feature_dim(actor: nn.Module, critic_class: Any) -> int:
    """Return the width of an actor's features, for its critic to read."""
    if not hasattr(actor, "feature_dim"):
        raise ConfigurationError(
            f"agent.critic.class_name={critic_class.__name__!r} reads an actor's features, but "
            f"agent.actor.class_name={type(actor).__name__!r} has none; set MLPModel, or the actor to Gr00tActor"
        )
    if actor.feature_dim == 0:
        raise ConfigurationError(
            f"agent.critic.class_name={critic_class.__name__!r} reads an actor's frozen features, but "
            "agent.actor.train.vision leaves none; set MLPModel, or agent.actor.train.vision to off"
        )
    return actor.feature_dim  # type: ignore[return-value]


def _encoders(actor: nn.Module) -> nn.Module:
    """Return the image encoders of an actor for its critic to use."""
    if not hasattr(actor, "cnns"):
        raise ConfigurationError(
            f"algorithm.share_cnn_encoders=True, but actor.class_name={type(actor).__name__!r} has no CNN encoders; "
            "set it to False or use CNNModel"
        )
    return actor.cnns  # type: ignore[return-value]
