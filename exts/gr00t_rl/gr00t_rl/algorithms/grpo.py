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
from .advantages import decision_advantages, episode_weights, group_advantages, informative_groups, return_diversity
from .episodes import FirstEpisodes
from .health import HealthWatch
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
        self._reports_success = False
        self._episode_metrics: dict[str, float] = {}

    # -- rollout ---------------------------------------------------------------------------------------------------

    def act(self, obs: TensorDict) -> torch.Tensor:
        """Return the next action of every env [N, A]; an iteration begins with new episodes, whatever ``obs`` is."""
        return super().act(self._begin_episodes() if self._step == 0 else obs)

    def _begin_episodes(self) -> TensorDict:
        """Reset all envs, so that the members of a group start alike, and return what they see."""
        self._check_env()
        unwrapped: Any = getattr(self.env, "unwrapped", self.env)
        unwrapped.decision_due = torch.ones_like(self.queue.due)
        unwrapped.new_episodes_decide = False  # within the iteration: pictures of second episodes need no rendering
        obs, extras = self.env.reset()  # type: ignore[attr-defined]
        extras["log"] = {}  # what it says is about episodes that were broken off
        self.episodes.begin()
        self.quarantine.release()
        return obs.to(self.device)

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
        self.episodes.step(rewards, dones, success)
        self.queue.rest(~self.episodes.alive)
        self._reset_models(ends)
        self._reports_success = success is not None
        extras.get("log", {}).pop("charts/success_rate", None)  # second episodes are short ones: counted, they bias it
        dones.zero_()

    def compute_returns(self, obs: TensorDict) -> None:
        """Compare the episodes of each group."""
        o, ep = self.options, self.episodes
        self.storage.discarded |= ep.spoiled
        self.quarantine.settle(self.iteration, self.storage)
        judged = (ep.success.float() if o.reward == "success" else ep.discounted).view(-1, o.group_size)
        good = ~ep.spoiled.view_as(judged)
        rows, num_envs = self.storage.rows, self.env.num_envs
        if o.credit == "reward_to_go":
            advantages = self._decision_advantages().view(-1)[rows]
        else:
            advantages = group_advantages(judged, o.advantage, o.advantage_eps, good).view(-1)[rows % num_envs]
        informative = informative_groups(judged, good)
        self.batch = self.storage.records()
        self.batch["episode"] = rows % num_envs
        self.batch["advantage"] = advantages
        self.batch["informative"] = informative.repeat_interleave(o.group_size)[rows % num_envs]
        self._episode_metrics = self._describe(judged, advantages, informative, good)

    def _decision_advantages(self) -> torch.Tensor:
        """Return the advantage of each decision by its rewards to go, [D, N]."""
        o, st = self.options, self.storage
        nothing = torch.zeros_like(st.rewards)
        # GAE without a critic and with lambda 1 is the sum of the discounted rewards from the decision on
        to_go = semi_mdp_gae(st.rewards, nothing, st.discounts, st.valid, nothing[0], lam=1.0)
        return decision_advantages(to_go, st.valid & ~st.discarded, o.group_size, o.advantage, o.advantage_eps)

    def _describe(
        self, judged: torch.Tensor, advantages: torch.Tensor, informative: torch.Tensor, good: torch.Tensor
    ) -> dict[str, float]:
        """Return the metrics of the iteration's ``good`` episodes; ``judged`` is [G, S], ``advantages`` [B]."""
        ep, kept = self.episodes, good.view(-1)
        rewards, diversity, judged = ep.rewards[kept], return_diversity(judged, good), judged.view(-1)[kept]
        values = {
            "frac_zero_std": 1.0 - informative.float().mean(),
            "return_diversity": diversity,
            "return_mean": rewards.mean(),
            "return_std": rewards.std(),
            "return_min": rewards.min(),
            "return_max": rewards.max(),
            "advantage_mean": advantages.mean(),
            "advantage_std": advantages.std(),
            "grpo/mean_reward": judged.mean(),
            "grpo/reward_std": judged.std(),
            "charts/episodic_return": rewards.mean(),
            "charts/episodic_length": ep.lengths[kept].float().mean(),
            "charts/used_steps": ep.lengths.sum() / (self.num_steps * self.env.num_envs),
        }
        if self._reports_success:
            values["charts/success_rate"] = ep.success[kept].float().mean()
        return dict(zip(values, torch.stack(list(values.values())).tolist(), strict=True))

    # -- update ----------------------------------------------------------------------------------------------------

    def update(self) -> dict[str, float]:
        """Run the epochs over the iteration's decisions and return the metrics."""
        metrics = super().update() | self._episode_metrics
        self.health.look(metrics, self.get_policy().output_std.mean().item())
        return metrics

    def _prepare(self, batch: TensorDict) -> TensorDict:
        """Select the decisions to learn from, weigh them, and add what the reference says of them."""
        batch = self._select(batch)
        if self.options.loss_average == "episode":
            batch["weight"] = episode_weights(batch["episode"], self.env.num_envs)
        if self.reference is not None and len(batch) > 0:
            self._add_reference(batch)
        return batch

    def _select(self, batch: TensorDict) -> TensorDict:
        """Deal with groups whose episodes are all alike; nothing is left where all groups of all ranks are."""
        if self.options.zero_std_groups == "keep":
            return batch
        rows = batch["informative"].nonzero().squeeze(-1)
        somewhere = torch.tensor(len(rows), device=self.device)
        if self.gpu_world_size > 1:
            dist.all_reduce(somewhere)
        if len(rows) == 0 and somewhere > 0:
            return batch  # another rank learns: this one's gradient is zero, but it must take part
        if self.options.zero_std_groups == "resample" and len(rows) > 0:
            drawn = torch.randint(len(rows), (len(batch) - len(rows),), device=self.device)
            rows = torch.cat((rows, rows[drawn]))
            if self.memory is not None:
                rows = rows.sort().values  # each env's together
        return batch[rows]

    @torch.no_grad()
    def _add_reference(self, batch: TensorDict) -> None:
        """Store the parameters of the reference's distributions at the visited states as "reference_0", ..."""
        assert self.reference is not None
        with self.reference.applied():
            parts = [self._evaluate(micro).parameters for micro in self._split(batch, self._pass_size(batch))]
        for i, parameter in enumerate(zip(*parts, strict=True)):
            batch[f"reference_{i}"] = torch.cat(parameter)

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
