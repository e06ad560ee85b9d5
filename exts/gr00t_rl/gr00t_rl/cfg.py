# SPDX-License-Identifier: BSD-3-Clause
"""Isaac Lab configuration classes of our models, algorithms and runners.

Tasks name our classes here as "module:Class" strings, which rsl_rl resolves when the runner is built; nothing of the
network is imported before that.
"""

from __future__ import annotations

from dataclasses import MISSING

import torch
from isaaclab.utils import configclass
from isaaclab_rl.rsl_rl import RslRlMLPModelCfg, RslRlOnPolicyRunnerCfg

from .preflight import remember_agent


@configclass
class FlowActorCfg:
    """What flow policies have in common: their chunks and their heads."""

    class_name: str = MISSING  # type: ignore[assignment]
    n_action_steps: int = 8
    """Actions of a chunk that are executed before the next decision."""
    head: str = "flow_sde"
    """How the flow becomes a distribution: "flow_sde", "gaussian" or "flow_noise"."""
    num_inference_timesteps: int = 4
    """Denoising steps."""
    noise_level: float = 0.5
    """Level of the SDE's noise (flow_sde)."""
    stochastic_steps: str = "one"
    """"one" random denoising step per decision, or "all" of them (flow_sde)."""
    init_std: float = 0.3
    """Initial standard deviation in normalised action units (gaussian)."""
    sigma_min: float = 0.05
    """Lower bound of the learned noise of each denoising step (flow_noise)."""
    sigma_max: float = 0.2
    """Upper bound of the learned noise of each denoising step (flow_noise)."""
    init_noise_scale: float = 1.0
    """Scale of the initial noise, in rollout and evaluation: 1 as trained, 0 deterministic."""
    log_prob_over: str = "executed"
    """What the log-probability counts: "executed" steps and real action dimensions, or the whole "chain"."""
    align_decisions: bool = False
    """Whether all envs decide at the same steps, so that pictures are taken once per chunk; an env that is reset acts
    with zeros until then."""
    obs_normalization: bool = False
    """Whether to normalise the state by its running moments."""
    distribution_cfg: None = None
    """Not used; Isaac Lab's tooling expects it of every model."""
    stochastic: bool = False
    """Not used; Isaac Lab's tooling removes it."""


@configclass
class StateKeyCfg:
    """Columns ``start:end`` of an observation group; fields are those of :class:`gr00t_rl.gr00t.StateKey`."""

    group: str = MISSING  # type: ignore[assignment]
    start: int = MISSING  # type: ignore[assignment]
    end: int = MISSING  # type: ignore[assignment]
    normalization: str | None = "min_max"
    """"min_max", "q99", "mean_std", "scale", "binary", or None where the observation is scaled already."""
    sin_cos: bool = False
    """Angles that the network sees as sines and cosines; normalization is None then."""


@configclass
class ActionKeyCfg:
    """Columns ``start:end`` of the env's action; fields are those of :class:`gr00t_rl.gr00t.ActionKey`."""

    start: int = MISSING  # type: ignore[assignment]
    end: int = MISSING  # type: ignore[assignment]
    normalization: str | None = "min_max"
    """As in :class:`StateKeyCfg`; None where the env takes normalised actions."""
    absolute: bool = True
    """False for a change, such as a step of the end effector; recorded in datasets and checkpoints."""


@configclass
class ModalityCfg:
    """Where the env keeps what the checkpoint's data config names; see :class:`gr00t_rl.gr00t.Modality`.

    Keys stand in the order of the data config, which is that of the network's dimensions and of the prompt's images.
    """

    embodiment_tag: str = "new_embodiment"
    """Name of the embodiment in the checkpoint's metadata."""
    video: dict[str, str] = {}
    """Key -> observation group of images."""
    state: dict[str, StateKeyCfg] = MISSING  # type: ignore[assignment]
    action: dict[str, ActionKeyCfg] = MISSING  # type: ignore[assignment]
    """Together they cover the env's action."""


@configclass
class Gr00tActorCfg(FlowActorCfg):
    """GR00T N1.5 as the actor; fields are the arguments of :class:`gr00t_rl.models.Gr00tActor`."""

    class_name: str = "gr00t_rl.models:Gr00tActor"
    checkpoint: str = "tiny"
    """Folder or hub id of a GR00T N1.5 checkpoint, or "tiny": a small random network of the real architecture."""
    tokenizer: str | None = None
    """Folder or hub id of the Eagle tokenizer assets; the checkpoint's own folder where None."""
    embodiment_id: int = 0
    """Row of the per-embodiment weights (gr1 24, oxe_droid 17, agibot_genie1 26, new_embodiment 31)."""
    instruction: str | None = None
    """What the robot is told; the task's instruction where None."""
    modality: ModalityCfg | None = None
    """Maps observation groups and actions to the checkpoint's keys and applies its statistics; where None, all flat
    groups are the state and all pictures the views, in order, and actions are the env's as they are."""
    feature_cache: str = "device"
    """Where an iteration's VL features are kept: "device", "host", or "pixels" (images are encoded again)."""
    tune_projector: bool = True
    """Train the state and action encoders and the action decoder."""
    tune_diffusion_model: bool = True
    """Train the DiT."""
    dtype: str = "float32"
    """"float32" or "bfloat16"; likelihoods are float32 either way."""
    attn_implementation: str = "sdpa"
    """"sdpa", "eager", or "flash_attention_2" where flash-attn is installed (CUDA only)."""
    tiny_seed: int = 0
    """Seed of the random weights of "tiny"."""


@configclass
class FlowMlpActorCfg(FlowActorCfg):
    """A flow policy of MLP size; fields are the arguments of :class:`gr00t_rl.models.FlowMlpActor`."""

    class_name: str = "gr00t_rl.models:FlowMlpActor"
    hidden_dims: list[int] = [256, 256, 256]
    activation: str = "mish"
    action_horizon: int = 8
    """Actions of a chunk."""
    obs_normalization: bool = True


@configclass
class Gr00tFeatureCriticCfg(RslRlMLPModelCfg):
    """Critic on the actor's cached features; see :class:`gr00t_rl.models.Gr00tFeatureCritic`."""

    class_name: str = "gr00t_rl.models:Gr00tFeatureCritic"
    hidden_dims: list[int] = [256, 256]
    activation: str = "elu"
    obs_normalization: bool = True
    stochastic: bool = False


@configclass
class PpoCfg:
    """PPO over decisions; fields are the arguments of :class:`gr00t_rl.algorithms.PPO`."""

    class_name: str = "gr00t_rl.algorithms:PPO"
    num_learning_epochs: int = 5
    """Passes over the iteration's decisions."""
    num_mini_batches: int = 4
    """Minibatches per pass."""
    micro_batch_size: int | None = None
    """Decisions per forward pass; minibatches are accumulated from pieces of this size."""
    gamma: float = 0.99
    """Discount per env step."""
    lam: float = 0.95
    """Lambda of GAE, per decision."""
    clip_param: float = 0.2
    """Clipping range of the probability ratio."""
    clip_param_high: float | None = None
    """Clipping range above 1; clip_param where None."""
    dual_clip: float | None = None
    """Bound of the loss for negative advantages, more than 1."""
    normalize_advantage: bool = True
    """Whether to normalise advantages, over the batch and all ranks."""
    normalize_advantage_per_mini_batch: bool = False
    """Normalise advantages in each minibatch instead of over the batch."""
    value_loss_coef: float = 0.5
    """Weight of the value loss."""
    use_clipped_value_loss: bool = False
    """Whether to clip the value's change as well."""
    huber_delta: float | None = None
    """Error beyond which the value loss grows linearly."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus."""
    num_critic_warmup_iterations: int = 0
    """First iterations in which only the critic learns."""
    target_kl: float | None = None
    """Approximate KL of a minibatch beyond which the iteration's update ends."""
    recompute_log_probs: bool = False
    """Recompute the old log-probabilities in the update's own batch shape before the first step."""
    learning_rate: float = 3e-4
    """Learning rate of the actor."""
    critic_learning_rate: float | None = None
    """Learning rate of the critic; the actor's where None."""
    schedule: str = "linear"
    """"fixed", "linear" or "cosine" (to 0 over max_iterations), or "adaptive" (towards desired_kl, per iteration)."""
    critic_schedule: str | None = None
    """Schedule of the critic's rate; the actor's where None, but fixed if that is adaptive."""
    desired_kl: float = 0.01
    """Target KL divergence per iteration of the adaptive schedule."""
    max_grad_norm: float = 0.5
    """Bound of the global gradient norm."""
    adam_eps: float = 1e-5
    """Adam's epsilon."""
    reward_scaling: bool = False
    """Whether to divide rewards by the running standard deviation of the discounted return."""
    reward_clip: float = 10.0
    """Bound of scaled rewards."""
    max_nonfinite_steps: int = 10
    """Non-finite gradients in a row after which the run stops."""


@configclass
class PlainPpoCfg(PpoCfg):
    """PPO as in the original paper: none of the later details."""

    num_learning_epochs: int = 10
    normalize_advantage: bool = False
    schedule: str = "fixed"
    max_grad_norm: float = float("inf")
    adam_eps: float = 1e-8


@configclass
class RunnerCfg(RslRlOnPolicyRunnerCfg):
    """What all our runners share: they choose their device, and their settings are checked before the env is built."""

    device: str = "cuda:0" if torch.cuda.is_available() else "cpu"
    # whole episodes from the first iteration on: a random start of the episode clock would cut the first ones short
    # and bias the reported success rate
    init_at_random_ep_len: bool = False
    save_interval: int = 25

    def __post_init__(self):
        remember_agent(self)


@configclass
class OrthogonalMlpCfg(RslRlMLPModelCfg):
    """MLP with orthogonal initialisation and clipped observations: :class:`gr00t_rl.models.OrthogonalMLPModel`."""

    class_name: str = "gr00t_rl.models:OrthogonalMLPModel"
    hidden_dims: list[int] = [128, 128]
    activation: str = "tanh"
    obs_normalization: bool = True
    output_gain: float = 1.0
    """Gain of the last layer: 0.01 for a policy, 1 for a value."""
    obs_clip: float = 10.0
    """Bound of the normalised observations."""
    stochastic: bool = False


@configclass
class Gr00tRunnerCfg(RunnerCfg):
    """GR00T actor, MLP critic on privileged state, PPO on action chunks with all that helps (`ppo_v2`)."""

    num_steps_per_env: int = 48
    max_iterations: int = 300
    obs_groups: dict[str, list[str]] = {"actor": ["policy"], "critic": ["critic"]}
    # from random weights the initial noise is but noise: start the chain at zero, and let the SDE explore
    actor: Gr00tActorCfg = Gr00tActorCfg(init_noise_scale=0.0, noise_level=0.5)  # type: ignore[assignment]
    critic: RslRlMLPModelCfg = RslRlMLPModelCfg(hidden_dims=[256, 256], activation="elu", stochastic=False)
    # gamma and the KL target per iteration are those with which chunks of 8 steps at 20 Hz learned
    algorithm: PpoCfg = PpoCfg(  # type: ignore[assignment]
        gamma=0.995,
        learning_rate=3e-4,
        critic_learning_rate=1e-3,
        schedule="adaptive",
        desired_kl=0.1,
        # five times the aim: a bad minibatch ends the iteration before it can ruin the policy
        target_kl=0.5,
        max_grad_norm=1.0,
    )


@configclass
class Gr00tPpoRunnerCfg(Gr00tRunnerCfg):
    """The same policy with PPO as in the original paper (`ppo`): fixed rate, no normalisation, no gradient clipping."""

    algorithm: PpoCfg = PlainPpoCfg(gamma=0.995, learning_rate=1e-4)  # type: ignore[assignment]


@configclass
class Gr00tFinetuneRunnerCfg(Gr00tRunnerCfg):
    """The same from a base policy that sometimes succeeds: its initial noise stays, and it must not be unlearned.

    The SDE's noise has to stand out from the variation that the initial noise brings (level 1.0); a small rate leaves
    room for dozens of updates within the KL target; and the critic learns first.
    """

    actor: Gr00tActorCfg = Gr00tActorCfg(init_noise_scale=1.0, noise_level=1.0)  # type: ignore[assignment]
    algorithm: PpoCfg = PpoCfg(  # type: ignore[assignment]
        gamma=0.995,
        num_critic_warmup_iterations=1,
        learning_rate=8e-5,
        critic_learning_rate=1e-3,
        schedule="adaptive",
        desired_kl=0.12,
        target_kl=0.5,
        max_grad_norm=1.0,
    )


@configclass
class FlowMlpRunnerCfg(Gr00tRunnerCfg):
    """The same algorithm and critic with an MLP as the velocity field (ReinFlow at the size of the state tasks)."""

    # from random weights, as for GR00T: start the chain at zero, and let the noise explore
    actor: FlowMlpActorCfg = FlowMlpActorCfg(init_noise_scale=0.0)  # type: ignore[assignment]


@configclass
class MlpRunnerCfg(RunnerCfg):
    """Gaussian MLP policy and PPO with all 37 details that apply (`ppo_v2`): one decision per env step."""

    num_steps_per_env: int = 24
    max_iterations: int = 100
    obs_groups: dict[str, list[str]] = {"actor": ["policy"], "critic": ["critic"]}
    actor: OrthogonalMlpCfg = OrthogonalMlpCfg(  # type: ignore[assignment]
        output_gain=0.01,
        distribution_cfg=RslRlMLPModelCfg.GaussianDistributionCfg(init_std=1.0, std_type="log"),
        stochastic=True,
    )
    critic: OrthogonalMlpCfg = OrthogonalMlpCfg()  # type: ignore[assignment]
    # 3e-4 is meant for one env and minibatches of 64; thousands of samples per minibatch bear 1e-3
    algorithm: PpoCfg = PpoCfg(learning_rate=1e-3, reward_scaling=True)  # type: ignore[assignment]


@configclass
class MlpPpoRunnerCfg(RunnerCfg):
    """Gaussian MLP policy and PPO as in the original paper (`ppo`)."""

    num_steps_per_env: int = 24
    max_iterations: int = 100
    obs_groups: dict[str, list[str]] = {"actor": ["policy"], "critic": ["critic"]}
    actor: RslRlMLPModelCfg = RslRlMLPModelCfg(
        hidden_dims=[64, 64],
        activation="tanh",
        distribution_cfg=RslRlMLPModelCfg.GaussianDistributionCfg(init_std=1.0, std_type="log"),
        stochastic=True,
    )
    critic: RslRlMLPModelCfg = RslRlMLPModelCfg(hidden_dims=[64, 64], activation="tanh", stochastic=False)
    algorithm: PpoCfg = PlainPpoCfg()  # type: ignore[assignment]


@configclass
class GrpoCfg:
    """GRPO over decisions; fields are the arguments of :class:`gr00t_rl.algorithms.GRPO`."""

    class_name: str = "gr00t_rl.algorithms:GRPO"
    group_size: int = 8
    """Envs that start alike and whose episodes are compared; it divides the envs of each process."""
    reward: str = "return"
    """What an episode is judged by: "return" (sum of its rewards) or "success" (1 or 0)."""
    credit: str = "episode"
    """What a decision is judged by: the whole "episode", or its "reward_to_go", the discounted rewards from it on."""
    advantage: str = "grpo"
    """"grpo": (R - mean) / std of the group, "dr_grpo": R - mean, "rloo": R less the mean of the others."""
    advantage_eps: float = 1e-4
    """Added to the group's standard deviation (grpo)."""
    zero_std_groups: str = "drop"
    """Groups whose episodes are all alike: "drop" them from the loss, "resample" their places from other groups'
    decisions, or "keep" them in the mean."""
    loss_average: str = "decision"
    """Mean over "decision"s, or over "episode"s of the means over theirs."""
    kl_coef: float = 0.0
    """Weight of KL(current || initial policy), in closed form; 0 keeps no reference."""
    num_learning_epochs: int = 3
    """Passes over the iteration's decisions."""
    num_mini_batches: int = 4
    """Minibatches per pass."""
    micro_batch_size: int | None = None
    """Decisions per forward pass; minibatches are accumulated from pieces of this size."""
    gamma: float = 1.0
    """Discount per env step."""
    clip_param: float = 0.2
    """Clipping range of the probability ratio."""
    clip_param_high: float | None = None
    """Clipping range above 1; clip_param where None."""
    dual_clip: float | None = None
    """Bound of the loss for negative advantages, more than 1."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus."""
    target_kl: float | None = None
    """Approximate KL of a minibatch beyond which the iteration's update ends."""
    recompute_log_probs: bool = False
    """Recompute the old log-probabilities in the update's own batch shape before the first step."""
    learning_rate: float = 5e-5
    """Learning rate."""
    schedule: str = "fixed"
    """"fixed", "linear" or "cosine" (to 0 over max_iterations), or "adaptive" (towards desired_kl, per iteration)."""
    desired_kl: float = 0.01
    """Target KL divergence per iteration of the adaptive schedule."""
    max_grad_norm: float = 1.0
    """Bound of the global gradient norm."""
    adam_eps: float = 1e-8
    """Adam's epsilon."""
    max_nonfinite_steps: int = 10
    """Non-finite gradients in a row after which the run stops."""


@configclass
class NoCriticCfg:
    """GRPO builds no critic. Isaac Lab's tooling wants a model cfg there with these fields, and removes the second."""

    distribution_cfg: None = None
    stochastic: bool = False


@configclass
class GrpoRunnerCfg(RunnerCfg):
    """What all GRPO runners share: an iteration is one episode of every env, and there is no critic."""

    num_steps_per_env: int | None = None  # type: ignore[assignment]
    """Env steps per iteration, at least an episode's; an episode's where None."""
    max_iterations: int = 100
    save_interval: int = 10
    obs_groups: dict[str, list[str]] = {"actor": ["policy"]}
    critic: NoCriticCfg = NoCriticCfg()  # type: ignore[assignment]


@configclass
class Gr00tGrpoRunnerCfg(GrpoRunnerCfg):
    """GR00T actor and GRPO on action chunks."""

    actor: Gr00tActorCfg = Gr00tActorCfg(init_noise_scale=0.0, noise_level=0.5)  # type: ignore[assignment]
    # the KL control with which PPO on chunks learned; a fixed rate of 5e-5 is the field's for large checkpoints
    algorithm: GrpoCfg = GrpoCfg(  # type: ignore[assignment]
        learning_rate=3e-4, schedule="adaptive", desired_kl=0.1, target_kl=0.5
    )


@configclass
class Gr00tGrpoFinetuneRunnerCfg(Gr00tGrpoRunnerCfg):
    """The same from a base policy that sometimes succeeds, with the noise, the rate and the KL of PPO's fine-tuning."""

    actor: Gr00tActorCfg = Gr00tActorCfg(init_noise_scale=1.0, noise_level=1.0)  # type: ignore[assignment]
    algorithm: GrpoCfg = GrpoCfg(  # type: ignore[assignment]
        # what happened before a decision, or two seconds after it, says next to nothing about it
        credit="reward_to_go",
        gamma=0.975,
        num_learning_epochs=5,
        num_mini_batches=8,
        learning_rate=8e-5,
        schedule="adaptive",
        desired_kl=0.12,
        target_kl=0.5,
    )


@configclass
class FlowMlpGrpoRunnerCfg(Gr00tGrpoRunnerCfg):
    """The same algorithm with an MLP as the velocity field."""

    actor: FlowMlpActorCfg = FlowMlpActorCfg(init_noise_scale=0.0)  # type: ignore[assignment]


@configclass
class MlpGrpoRunnerCfg(GrpoRunnerCfg):
    """Gaussian MLP policy and GRPO: one decision per env step."""

    actor: OrthogonalMlpCfg = OrthogonalMlpCfg(  # type: ignore[assignment]
        output_gain=0.01,
        distribution_cfg=RslRlMLPModelCfg.GaussianDistributionCfg(init_std=1.0, std_type="log"),
        stochastic=True,
    )
    algorithm: GrpoCfg = GrpoCfg(learning_rate=1e-3, schedule="adaptive", desired_kl=0.01)  # type: ignore[assignment]
