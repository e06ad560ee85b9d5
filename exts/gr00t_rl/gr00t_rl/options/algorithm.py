# SPDX-License-Identifier: BSD-3-Clause
"""Options of the algorithms: ``agent.algorithm.*``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..gr00t.part_names import PARTS as GR00T_PARTS
from .base import Options
from .declaration import Relation, option

SCHEDULES = ("fixed", "linear", "cosine", "adaptive")
ESTIMATORS = ("grpo", "dr_grpo", "rloo")
PARTS = (*GR00T_PARTS, "noise", "critic")
"""Parts that can have settings of their own: those of GR00T, the learned noise of a head, and the critic."""


@dataclass
class PartOptions(Options):
    """Settings of one part of the network, in place of those of the algorithm."""

    learning_rate: float | None = option(
        None, "Learning rate; the actor's where null. That of the critic is critic_learning_rate.", low=0
    )
    weight_decay: float | None = option(None, "Weight decay; the algorithm's where null.", low=0)
    warmup_iterations: int | None = option(
        None,
        "Warm-up of the rate, from the iteration in which the part begins to learn; the algorithm's where null.",
        low=0,
    )
    max_grad_norm: float | None = option(
        None,
        "Bound of the norm of the part's gradient, before that of all together is bounded; null for none.",
        above=0,
        infinite=True,
    )


@dataclass
class SurrogateOptions(Options):
    """What PPO and GRPO share: steps on the clipped surrogate."""

    gamma: float = option(0.99, "Discount per env step.", low=0, high=1)
    num_learning_epochs: int = option(5, "Passes over the iteration's decisions, each in a new order.", low=1)
    num_mini_batches: int = option(4, "Minibatches per pass; every decision is in one of them.", low=1)
    micro_batch_size: int | str | None = option(
        "auto",
        "Decisions per forward pass; minibatches are accumulated from pieces of this size, with the same gradients. "
        "Null: the whole minibatch. auto: the whole minibatch too, unless a large GR00T network leaves too little "
        "memory for it (docs/memory.md).",
        low=1,
        choices=("auto",),
    )
    clip_param: float = option(0.2, "Clipping range of the probability ratio (eq. 7 of arXiv 1707.06347).", above=0)
    clip_param_high: float | None = option(
        None, "Clipping range above 1 (DAPO, arXiv 2503.14476); clip_param where null.", above=0
    )
    dual_clip: float | None = option(
        None, "Bound of the loss for negative advantages, more than 1 (arXiv 1912.09729); null for none.", above=1
    )
    entropy_coef: float = option(
        0.0,
        "Weight of the entropy bonus. The noise of flow_sde is fixed by its schedule: there it must be 0.",
        low=0,
    )
    target_kl: float | None = option(
        None,
        "Approximate KL (k3) of a minibatch beyond which no step is taken on it and the iteration's update ends [nats "
        "per decision, see desired_kl]; null: never.",
        above=0,
    )
    recompute_log_probs: bool | str = option(
        "auto",
        "Recompute the old log-probabilities in the update's own batch shape before the first step, so that the ratio "
        "starts at 1 where kernels depend on the shape (bf16 on a GPU). micro_batch_size should divide a minibatch. "
        "auto: if the gate before the first update finds that it is needed.",
        choices=("auto",),
    )
    learning_rate: float = option(3e-4, "Learning rate of the actor.", low=0)
    schedule: str = option(
        "linear",
        "Schedule of the actor's rate: fixed; linear or cosine, to 0 over max_iterations; adaptive, towards desired_kl "
        "once per iteration.",
        choices=SCHEDULES,
    )
    desired_kl: float = option(
        0.01,
        "Target of KL(old || new) per iteration of the adaptive schedule [nats per decision]. A decision counts its "
        "random denoising steps: with stochastic_steps=one, one of K, so that the same change of the policy shows "
        "about 1/K of the KL that it has with all.",
        above=0,
    )
    max_grad_norm: float = option(
        0.5, "Bound of the global gradient norm, over all trained parameters together.", above=0, infinite=True
    )
    adam_eps: float = option(1e-5, "AdamW's epsilon; PyTorch's and the released recipe's is 1e-8.", above=0)
    adam_betas: list[float] = option(
        [0.9, 0.999],
        "AdamW's decay rates of the two moments; the released recipe has 0.95 and 0.999.",
        low=0,
        below=1,
        least=2,
    )
    weight_decay: float = option(
        0.0,
        "AdamW's decoupled weight decay (arXiv 1711.05101), not of biases, norms and standard deviations; 0 is Adam, "
        "the released recipe has 1e-5.",
        low=0,
    )
    warmup_iterations: int = option(
        0,
        "Iterations over which rates rise linearly to their schedule's value; the released recipe: a twentieth of the "
        "run.",
        low=0,
    )
    parts: dict[str, dict[str, Any]] = option(
        {name: {} for name in PARTS},
        "Settings of single parts of the network in place of those above, such as agent.algorithm.parts.dit."
        "learning_rate=1e-5; the names of parts and settings are in the table below.",
        keys=PARTS,
        entries=PartOptions,
    )
    max_nonfinite_steps: int = option(10, "Non-finite gradients in a row after which the run stops.", low=1)
    max_nonfinite_envs: float = option(
        0.5,
        "Share of the envs, over all ranks, that may be not finite in an iteration; beyond it the run stops.",
        low=0,
        high=1,
    )
    max_nonfinite_iterations: int = option(
        20, "Iterations in a row in which one and the same env is not finite, after which the run stops.", low=1
    )
    grad_reduce_bucket_mb: float = option(
        25.0, "Size of the pieces in which gradients are summed over ranks [MiB].", above=0
    )

    @classmethod
    def relations(cls) -> tuple[Relation, ...]:
        return (
            *super().relations(),
            Relation(
                "clip_param_high",
                lambda o: o.clip_param_high is None or o.clip_param_high >= o.clip_param,
                "at least {clip_param}, or null",
            ),
            Relation("adam_betas", lambda o: len(o.adam_betas) == 2, "a list of two numbers, such as [0.9,0.999]"),
            Relation(
                "parts",
                lambda o: o.parts.get("critic", {}).get("learning_rate") is None,
                "the critic's rate by critic_learning_rate, not by parts.critic.learning_rate",
            ),
        )


@dataclass
class PpoOptions(SurrogateOptions):
    """PPO over decisions (Schulman et al., arXiv 1707.06347)."""

    lam: float = option(0.95, "Lambda of GAE, per decision (Schulman et al., arXiv 1506.02438).", low=0, high=1)
    normalize_advantage: bool = option(True, "Normalise advantages, over the batch and all ranks.")
    normalize_advantage_per_mini_batch: bool = option(
        False, "Normalise advantages in each minibatch instead of over the batch."
    )
    value_loss_coef: float = option(0.5, "Weight of the value loss.", low=0)
    use_clipped_value_loss: bool = option(False, "Clip the value's change by clip_param as well.")
    huber_delta: float | None = option(
        None, "Error beyond which the value loss grows linearly; null: the squared error.", above=0
    )
    num_critic_warmup_iterations: int = option(0, "First iterations in which only the critic learns.", low=0)
    critic_learning_rate: float | None = option(None, "Learning rate of the critic; the actor's where null.", low=0)
    critic_schedule: str | None = option(
        None,
        "Schedule of the critic's rate; the actor's where null, but fixed if that is adaptive.",
        choices=SCHEDULES,
    )
    reward_scaling: bool = option(False, "Divide rewards by the running standard deviation of the discounted return.")
    reward_clip: float = option(10.0, "Bound of scaled rewards.", above=0, infinite=True)
    share_cnn_encoders: bool = option(False, "Let the critic use the image encoders of an actor with CNNs.")
    rnd_cfg: dict[str, Any] | None = option(
        None, "Curiosity: arguments of rsl_rl's RandomNetworkDistillation; null for none."
    )


@dataclass
class GrpoOptions(SurrogateOptions):
    """GRPO over decisions (Shao et al., arXiv 2402.03300)."""

    num_learning_epochs: int = 3
    gamma: float = 1.0
    learning_rate: float = 5e-5
    schedule: str = "fixed"
    max_grad_norm: float = 1.0
    adam_eps: float = 1e-8
    group_size: int = option(
        8,
        "Neighbouring envs that start alike and whose episodes are compared; it divides the envs of each process.",
        low=2,
    )
    reward: str = option(
        "return",
        "What an episode is judged by: return, the (discounted) sum of its rewards, or success, 1 or 0.",
        choices=("return", "success"),
    )
    credit: str = option(
        "episode",
        "What a decision is judged by: the whole episode, or reward_to_go, the discounted rewards from it on.",
        choices=("episode", "reward_to_go"),
    )
    advantage: str = option(
        "grpo",
        "grpo: (R - mean) / std of the group; dr_grpo: R - mean (arXiv 2503.20783); rloo: R less the mean of the "
        "others (arXiv 2402.14740).",
        choices=ESTIMATORS,
    )
    advantage_eps: float = option(
        1e-4, "Added to the group's standard deviation.", low=0, only_with=("advantage", ("grpo",))
    )
    zero_std_groups: str = option(
        "drop",
        "Groups whose episodes are all alike: drop leaves them out of the loss, resample fills their places with "
        "decisions of other groups, keep lets them count in the mean.",
        choices=("drop", "resample", "keep"),
    )
    loss_average: str = option(
        "decision",
        "Mean over decisions, or over episodes of the means over theirs.",
        choices=("decision", "episode"),
    )
    kl_coef: float = option(
        0.0,
        "Weight of KL(current || initial policy), in closed form; 0 keeps no reference. Counts what desired_kl counts: "
        "with stochastic_steps=one about 1/K of the chain's KL.",
        low=0,
    )
