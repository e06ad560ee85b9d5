# SPDX-License-Identifier: BSD-3-Clause
"""Group relative policy optimisation: PPO's surrogate, with episodes from the same start as each other's baseline."""

from __future__ import annotations

from typing import Any, Self

import torch
import torch.distributed as dist
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from ..options import GrpoOptions
from ..utils.errors import ConfigurationError
from ..utils.instructions import FAILURE_RATE_TAG, SUCCESS_RATE_TAG, TIME_OUT_RATE_TAG, task_names
from .advantages import decision_advantages, episode_weights, group_advantages, informative_groups
from .episodes import FirstEpisodes
from .group_metrics import describe_episodes, tally_endings, tally_episodes
from .health import HealthWatch
from .ranks import Moments, Tally
from .reference import FrozenReference
from .returns import semi_mdp_gae
from .surrogate import ClippedSurrogate


class GRPO(ClippedSurrogate):
    """GRPO (Shao et al., arXiv 2402.03300) for robots: no critic, one episode per env and iteration.

    ``group_size`` neighbouring envs start alike. All envs are reset together before each iteration, and each plays one
    episode; afterwards it rests until the others are done, unseen by the policy and by the loss. With ``credit``
    "episode" all decisions of an episode have the same advantage: that of its return among the returns of its group.
    With "reward_to_go" each has its own: that of what came after it among the same of its group.

    Args:
        *args: See :class:`ClippedSurrogate`; the critic is None, and the env must share starts, see
            :func:`gr00t_rl.tasks.grouping.share_starts`. The options are :class:`~gr00t_rl.options.GrpoOptions`.
        **kwargs: See :class:`ClippedSurrogate`.

    Raises:
        ConfigurationError: If groups, envs and the iteration's length do not fit together.
    """

    learns_values = False
    options_type = GrpoOptions
    options: GrpoOptions

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reference = FrozenReference(self.actor) if self.options.kl_coef > 0 else None
        self.episodes = FirstEpisodes(self.env.num_envs, self.options.gamma, self.device)
        self.health = HealthWatch()
        self._reports_success = self._reports_time_outs = False
        self._tasks = task_names(self.env.cfg)
        self._judged: torch.Tensor  # what episodes are judged by, float32 [G, S]
        self._informative: torch.Tensor  # groups that teach something, bool [G]

    # -- rollout ---------------------------------------------------------------------------------------------------

    def _begin_rollout(self, obs: TensorDict) -> TensorDict:
        """Reset all envs, so that the members of a group start alike, and return what they see; ``obs`` is past."""
        self._check_env()
        unwrapped: Any = getattr(self.env, "unwrapped", self.env)
        unwrapped.new_episodes_decide = False  # within the iteration: pictures of second episodes need no rendering
        self.episodes.begin()
        return self._reset_envs()

    def _check_env(self) -> None:
        """Check what only the env itself knows; a task of ours is checked before it is built (``preflight``)."""
        size, shared = self.options.group_size, getattr(self.env.cfg, "start_group_size", None)
        if shared != size:
            raise ConfigurationError(
                f"agent.algorithm.group_size is {size}, but the env's starts are shared by "
                f"{shared or 'none'}; call gr00t_rl.tasks.grouping.share_starts(env_cfg, {size}) in "
                "validate_config of the env cfg"
            )
        if self.env.num_envs % size:
            raise ConfigurationError(
                f"--num_envs is {self.env.num_envs}; set a multiple of agent.algorithm.group_size={size}"
            )
        if self.num_steps < self.env.max_episode_length:
            raise ConfigurationError(
                f"agent.num_steps_per_env is {self.num_steps}; set null or at least the "
                f"{self.env.max_episode_length} steps of an episode"
            )

    def process_env_step(
        self, obs: TensorDict, rewards: torch.Tensor, dones: torch.Tensor, extras: dict[str, Any]
    ) -> None:
        """Add one env step to the episodes; envs whose first one has ended rest, and one that breaks leaves its group.

        rsl_rl's logger counts episodes from one end to the next, across our resets: it is shown no end (``dones`` is
        zeroed in place), and :meth:`update` reports the iteration's episodes under the same tags.
        """
        self.timer.lap("env")
        success = extras.get("success")
        if success is None and self.options.reward == "success":
            raise ConfigurationError(
                "agent.algorithm.reward is 'success', but the env reports no extras['success']; set it to 'return'"
            )
        ends, extras, left_out = self.quarantine.inspect(obs, rewards, dones, extras, self.episodes.alive)
        if left_out is not None:
            self.episodes.spoil(left_out)
        judged = rewards if self.options.reward == "return" else (success & dones.bool()).to(rewards.dtype)  # type: ignore
        # a decision runs no longer than its episode: what an env does afterwards is nobody's
        self.storage.step(judged, dones)
        time_outs = extras.get("time_outs")
        self.episodes.step(rewards, dones, success, extras.get("instruction"), time_outs)
        self.queue.rest(~self.episodes.alive)
        self._reset_models(ends)
        self._reports_success, self._reports_time_outs = success is not None, time_outs is not None
        # the env's rates are of the last episodes of several iterations, and GRPO reports this one's
        rates = (SUCCESS_RATE_TAG, FAILURE_RATE_TAG, TIME_OUT_RATE_TAG)
        for tag in (*rates, *(f"{SUCCESS_RATE_TAG}/{name}" for name in self._tasks)):
            extras.get("log", {}).pop(tag, None)
        dones.zero_()

    def compute_returns(self, obs: TensorDict) -> None:
        """Compare the episodes of each group."""
        o, ep, st = self.options, self.episodes, self.storage
        st.discarded |= ep.spoiled
        self._end_rollout()
        self._judged = (ep.success.float() if o.reward == "success" else ep.discounted).view(-1, o.group_size)
        good = ~ep.spoiled
        magnitude = self._to_go(st.rewards.abs().where(~st.discarded, 0.0)).amax(0)
        if o.credit == "reward_to_go":
            values, valid = self._to_go(st.rewards), st.valid & ~st.discarded
            advantages = decision_advantages(values, valid, o.group_size, o.advantage, o.advantage_eps)
        else:
            values, valid = self._judged.view(1, -1), good.view(1, -1)
            advantages = group_advantages(self._judged, o.advantage, o.advantage_eps, good.view_as(self._judged))
            advantages = advantages.view(1, -1).expand_as(st.rewards)
        self._informative = informative_groups(values, valid, magnitude, o.group_size)
        rows = st.rows
        self.batch = st.records()
        self.batch["episode"] = rows % self.env.num_envs
        self.batch["advantage"] = advantages.reshape(-1)[rows]
        self.batch["informative"] = self._informative.repeat_interleave(o.group_size)[self.batch["episode"]]

    def _to_go(self, rewards: torch.Tensor) -> torch.Tensor:
        """Return the sum of the discounted ``rewards`` [D, N] from each decision on, [D, N]."""
        nothing = torch.zeros_like(rewards)
        # what GAE is without a critic and with lambda 1
        return semi_mdp_gae(rewards, nothing, self.storage.discounts, self.storage.valid, nothing[0], lam=1.0)

    def _tally(self, tally: Tally, batch: TensorDict) -> None:
        """Add what the metrics of the iteration's episodes are made of."""
        tally_episodes(tally, self.episodes, self._judged, self._informative, self.num_steps)
        if self._reports_success:
            tally_endings(tally, self.episodes, self._reports_time_outs, self._tasks)
        tally.add("advantage", batch["advantage"])

    def _describe(self, moments: dict[str, Moments]) -> dict[str, float]:
        """Return the metrics of the iteration's episodes."""
        return describe_episodes(moments)

    def _successes(self, moments: dict[str, Moments]) -> tuple[int, int]:
        """Return how many episodes of the iteration succeeded and how many there were, on all ranks."""
        return (int(moments["success"].total), int(moments["success"].count)) if "success" in moments else (0, 0)

    # -- update ----------------------------------------------------------------------------------------------------

    def update(self) -> dict[str, float]:
        """Run the epochs over the iteration's decisions and return the metrics."""
        metrics = super().update()
        self.health.look(metrics, self.get_policy().output_std.mean().item())
        return metrics

    def _prepare(self, batch: TensorDict) -> torch.Tensor:
        """Select the decisions to learn from, weigh them, and add what the reference says of them."""
        rows = self._select(batch)
        if self.options.loss_average == "episode":
            self._weigh_episodes(batch, rows)
        if self.reference is not None:
            self._add_reference(batch, rows)
        return rows

    def _select(self, batch: TensorDict) -> torch.Tensor:
        """Return the rows to learn from; none where all groups of this rank are alike and are not kept."""
        if self.options.zero_std_groups == "keep":
            return super()._prepare(batch)
        rows = batch["informative"].nonzero().squeeze(-1)
        if self.options.zero_std_groups != "resample":
            return rows
        # Of all ranks together, as one process would draw: a rank's rows are repeated as often as any other's.
        decisions, informative = len(batch), len(rows)
        if self.gpu_world_size > 1:
            sizes = torch.tensor((decisions, informative), device=self.device)
            dist.all_reduce(sizes)
            decisions, informative = sizes.tolist()
        if len(rows) == 0:
            return rows
        missing = round(len(rows) * decisions / informative) - len(rows)
        rows = torch.cat((rows, rows[torch.randint(len(rows), (missing,), device=self.device)]))
        return rows if self.memory is None else rows.sort().values  # each env's together

    def _weigh_episodes(self, batch: TensorDict, rows: torch.Tensor) -> None:
        """Store the weights under which the mean over ``rows`` [R] of all ranks is one over their episodes."""
        episode = batch["episode"][rows]
        seen = torch.zeros(self.env.num_envs, dtype=torch.bool, device=self.device)
        seen[episode] = True
        sizes = torch.stack((torch.full_like(seen[0], len(rows), dtype=torch.long), seen.sum()))
        if self.gpu_world_size > 1:
            dist.all_reduce(sizes)
        weights = torch.zeros(len(batch), device=self.device)
        weights[rows] = episode_weights(episode, self.env.num_envs, sizes[0] / sizes[1].clamp_min(1))
        batch["weight"] = weights

    @torch.no_grad()
    def _add_reference(self, batch: TensorDict, rows: torch.Tensor) -> None:
        """Store the parameters of the reference's distributions at ``rows`` [R] as "reference_0", ..."""
        assert self.reference is not None
        rows = rows if len(rows) > 0 else rows.new_zeros(1)  # for the row with which a rank takes part, see _run_epochs
        with self.reference.applied():
            for part in self._pieces(batch, rows, self._pass_size(len(rows))):
                for i, parameter in enumerate(self._evaluate(batch[part]).parameters):
                    name = f"reference_{i}"
                    if name not in batch.keys():  # noqa: SIM118  # iterating a TensorDict goes over its rows
                        batch[name] = parameter.new_zeros(len(batch), *parameter.shape[1:])
                    batch[name][part] = parameter

    def _loss_terms(self, micro: TensorDict) -> dict[str, torch.Tensor]:
        """Return the losses and diagnostics of each decision, every entry [B]."""
        micro = self.policy.restore(micro)
        policy = self.policy.evaluate(micro)
        terms = self._policy_terms(micro, policy) | {"kl_divergence": policy.kl}
        if self.reference is not None:
            reference = tuple(micro[f"reference_{i}"] for i in range(len(policy.parameters)))
            terms["reference_kl"] = self.policy.divergence(policy.parameters, reference)
        if "weight" in micro.keys():  # noqa: SIM118  # iterating a TensorDict goes over its rows
            for name in ("policy", "entropy", "reference_kl"):
                if name in terms:
                    terms[name] = terms[name] * micro["weight"]
        return terms

    def _loss(self, terms: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the loss of each decision [B]: surrogate + beta KL(current || reference) - entropy bonus."""
        o = self.options
        loss = terms["policy"] - o.entropy_coef * terms["entropy"]
        return loss + o.kl_coef * terms["reference_kl"] if self.reference is not None else loss

    def broadcast_parameters(self) -> None:
        """Copy rank 0's parameters and buffers to all ranks, see :class:`DecisionAlgorithm`, and its reference."""
        super().broadcast_parameters()
        for tensor in () if self.reference is None else self.reference.state_dict().values():
            dist.broadcast(tensor, src=0)

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def save(self) -> dict[str, Any]:
        """Return the training state, see :class:`DecisionAlgorithm`, and the reference's weights."""
        state = super().save()
        if self.reference is not None:
            state["reference_state_dict"] = self.reference.state_dict()
        return state

    def load(self, loaded_dict: dict[str, Any], load_cfg: dict | None, strict: bool) -> bool:
        """Restore what :meth:`save` returned; without a reference in it, the weights it holds become the reference."""
        resumed = super().load(loaded_dict, load_cfg, strict)
        if self.reference is not None:
            if "reference_state_dict" in loaded_dict:
                self.reference.load_state_dict(loaded_dict["reference_state_dict"])
            else:
                self.reference.adopt()
        return resumed

    @classmethod
    def construct_algorithm(cls, obs: TensorDict, env: VecEnv, cfg: dict, device: str) -> Self:
        """Build models and algorithm, see :class:`DecisionAlgorithm`; an iteration is one episode where not set."""
        if cfg["num_steps_per_env"] is None:
            cfg["num_steps_per_env"] = int(env.max_episode_length)
        return super().construct_algorithm(obs, env, cfg, device)
