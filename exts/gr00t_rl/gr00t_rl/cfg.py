# SPDX-License-Identifier: BSD-3-Clause
"""Isaac Lab configuration classes of our models, algorithms and runners.

Tasks name our classes here as "module:Class" strings, which rsl_rl resolves when the runner is built; nothing of the
network is imported before that.
"""

from __future__ import annotations

import math
from dataclasses import MISSING
from typing import Any

import torch
from isaaclab.utils import configclass
from isaaclab_rl.rsl_rl import RslRlMLPModelCfg, RslRlOnPolicyRunnerCfg

from .launch.entrypoints import install as install_entrypoints
from .options import (
    FeatureCriticOptions,
    FlowMlpActorOptions,
    Gr00tActorOptions,
    GrpoOptions,
    OrthogonalMlpOptions,
    OrthogonalRnnOptions,
    PpoOptions,
    RunnerOptions,
)
from .preflight import remember_agent, remembered_agent


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
    relative_to: str | None = None
    """N1.7: state key to which the network's actions are relative; the env takes absolute ones."""
    pose: str | None = None
    """Of a relative key: "xyz+rot6d" or "xyz+rotvec"; None for joints."""
    hold: float | None = None
    """What an env is given that waits for its next decision (``align_decisions``). None: for a change 0, for an
    absolute key the present value of the state key that it is relative to, or of that with its name and width."""


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
    video_crop: float = 1.0
    """Share of each side of a picture that is kept, from its middle. For an N1.5 checkpoint tuned with NVIDIA's data
    configs: 0.95, the ``scale`` of their ``VideoCrop``. N1.7's own files say it."""


@configclass
class Gr00tActorCfg(Gr00tActorOptions):
    """GR00T as the actor: :class:`gr00t_rl.models.Gr00tActor`."""

    class_name: str = "gr00t_rl.models:Gr00tActor"
    modality: ModalityCfg | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    stochastic: bool = False  # Isaac Lab 3.0's tooling wants it and removes it (docs/isaac_lab.md)


@configclass
class FlowMlpActorCfg(FlowMlpActorOptions):
    """A flow policy of MLP size: :class:`gr00t_rl.models.FlowMlpActor`."""

    class_name: str = "gr00t_rl.models:FlowMlpActor"
    stochastic: bool = False


@configclass
class Gr00tFeatureCriticCfg(FeatureCriticOptions):
    """Critic on the actor's cached features: :class:`gr00t_rl.models.Gr00tFeatureCritic`."""

    class_name: str = "gr00t_rl.models:Gr00tFeatureCritic"
    stochastic: bool = False


@configclass
class OrthogonalMlpCfg(OrthogonalMlpOptions):
    """MLP with orthogonal initialisation and clipped observations: :class:`gr00t_rl.models.OrthogonalMLPModel`."""

    class_name: str = "gr00t_rl.models:OrthogonalMLPModel"
    distribution_cfg: RslRlMLPModelCfg.DistributionCfg | None = None  # type: ignore[assignment]
    stochastic: bool = False


@configclass
class OrthogonalRnnCfg(OrthogonalRnnOptions):
    """The same with recurrent layers: :class:`gr00t_rl.models.OrthogonalRNNModel`."""

    class_name: str = "gr00t_rl.models:OrthogonalRNNModel"
    distribution_cfg: RslRlMLPModelCfg.DistributionCfg | None = None  # type: ignore[assignment]
    stochastic: bool = False


@configclass
class PpoCfg(PpoOptions):
    """PPO over decisions: :class:`gr00t_rl.algorithms.PPO`."""

    class_name: str = "gr00t_rl.algorithms:PPO"


@configclass
class PlainPpoCfg(PpoCfg):
    """PPO as in the original paper: none of the later details."""

    num_learning_epochs: int = 10
    normalize_advantage: bool = False
    schedule: str = "fixed"
    max_grad_norm: float = float("inf")
    adam_eps: float = 1e-8


@configclass
class GrpoCfg(GrpoOptions):
    """GRPO over decisions: :class:`gr00t_rl.algorithms.GRPO`."""

    class_name: str = "gr00t_rl.algorithms:GRPO"


@configclass
class RunnerCfg(RunnerOptions, RslRlOnPolicyRunnerCfg):
    """What all our runners share: they choose their device, and their settings are checked before the env is built."""

    device: str = "cuda:0" if torch.cuda.is_available() else "cpu"
    # whole episodes from the first iteration on: a random start of the episode clock would cut the first ones short
    # and bias the reported success rate
    init_at_random_ep_len: bool = False

    def __post_init__(self):
        remember_agent(self)
        install_entrypoints(RunnerCfg, remembered_agent)


def steps_of(noise_level: float, desired_kl: float) -> dict[str, Any]:
    """What fits a fine-tuning algorithm's KL target per iteration: the first learning rate, and the KL that ends it.

    A step that moves the mean of the actions by ``d`` has a KL of ``d² / (2 σ²)``, and ``d`` is about proportional to
    the rate. So the rate whose KL is ``desired_kl`` is proportional to ``noise_level · √desired_kl``. The factor is
    Pick-Place's: there the first update has a KL of 0.03 where 0.04 is wanted (docs/learning.md). The adaptive rate
    stays within fixed multiples of it.
    """
    rate = 2.5e-4 * noise_level * math.sqrt(desired_kl)
    return {"desired_kl": desired_kl, "target_kl": 4.0 * desired_kl, "learning_rate": rate}


LORA_RATE = 5.0
"""Factor of the learning rate for adapters: the product of two matrices that begins at 0 needs larger steps than the
weights themselves."""


def explore(runner: RunnerCfg, *, noise_level: float, desired_kl: float) -> None:
    """Set how a fine-tuning runner explores and how far it steps: noise, KL target, KL bound and first learning rate.

    The rate fits the noise and the KL: with half the noise, the same rate gives four times the KL. Where adapters alone
    are trained (:func:`gr00t_rl.tasks.agents.train_adapters`), it is theirs.

    Args:
        runner: Of a GR00T actor that starts from a checkpoint; changed in place.
        noise_level: Level of the SDE's noise, σ.
        desired_kl: KL per iteration that the adaptive rate aims at, in nats per decision. Four times as much ends the
            iteration.
    """
    runner.actor.noise_level = noise_level  # type: ignore[attr-defined]
    for name, value in steps_of(noise_level, desired_kl).items():
        setattr(runner.algorithm, name, value)
    if {*(getattr(runner.actor, "train", None) or {}).values()} - {"off"} == {"lora"}:
        runner.algorithm.learning_rate *= LORA_RATE  # type: ignore[attr-defined]


@configclass
class Gr00tRunnerCfg(RunnerCfg):
    """GR00T actor, MLP critic on privileged state, PPO on action chunks with all that helps (`ppo_v2`)."""

    num_steps_per_env: int = 48
    max_iterations: int = 300
    obs_groups: dict[str, list[str]] = {"actor": ["policy"], "critic": ["critic"]}
    # from random weights the initial noise is but noise: start the chain at zero, and let the SDE explore
    actor: Gr00tActorCfg = Gr00tActorCfg(init_noise_scale=0.0, noise_level=0.5)  # type: ignore[assignment]
    critic: RslRlMLPModelCfg = RslRlMLPModelCfg(hidden_dims=[256, 256], activation="elu")
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
        critic_learning_rate=1e-3,
        schedule="adaptive",
        max_grad_norm=1.0,
        **steps_of(noise_level=1.0, desired_kl=0.12),
    )


@configclass
class Gr00tCameraFinetuneRunnerCfg(Gr00tFinetuneRunnerCfg):
    """The same from pictures."""

    def __post_init__(self):
        super().__post_init__()
        # decisions are told apart by what follows within two or three seconds (docs/screened.md)
        self.algorithm.gamma = 0.98
        # a third of the state's step: with that one, gains come and go (docs/screened.md)
        explore(self, noise_level=1.0, desired_kl=0.04)


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
    )
    critic: OrthogonalMlpCfg = OrthogonalMlpCfg()  # type: ignore[assignment]
    # 3e-4 is meant for one env and minibatches of 64; thousands of samples per minibatch bear 1e-3
    algorithm: PpoCfg = PpoCfg(learning_rate=1e-3, reward_scaling=True)  # type: ignore[assignment]


@configclass
class RnnRunnerCfg(MlpRunnerCfg):
    """The same with an LSTM before each MLP, for tasks in which what was seen earlier matters."""

    actor: OrthogonalRnnCfg = OrthogonalRnnCfg(  # type: ignore[assignment]
        output_gain=0.01,
        distribution_cfg=RslRlMLPModelCfg.GaussianDistributionCfg(init_std=1.0, std_type="log"),
    )
    critic: OrthogonalRnnCfg = OrthogonalRnnCfg()  # type: ignore[assignment]


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
    )
    critic: RslRlMLPModelCfg = RslRlMLPModelCfg(hidden_dims=[64, 64], activation="tanh")
    algorithm: PpoCfg = PlainPpoCfg()  # type: ignore[assignment]


@configclass
class NoCriticCfg:
    """GRPO builds no critic. Isaac Lab's tooling wants a model cfg there with these fields, and removes the second."""

    distribution_cfg: None = None
    stochastic: bool = False


@configclass
class GrpoRunnerCfg(RunnerCfg):
    """What all GRPO runners share: an iteration is one episode of every env, and there is no critic."""

    num_steps_per_env: int | None = None
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
        schedule="adaptive",
        **steps_of(noise_level=1.0, desired_kl=0.12),
    )


@configclass
class Gr00tCameraGrpoFinetuneRunnerCfg(Gr00tGrpoFinetuneRunnerCfg):
    """The same from pictures, with PPO's step from them: on Push three seeds learn alike (docs/grpo.md)."""

    def __post_init__(self):
        super().__post_init__()
        explore(self, noise_level=1.0, desired_kl=0.04)


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
    )
    algorithm: GrpoCfg = GrpoCfg(learning_rate=1e-3, schedule="adaptive", desired_kl=0.01)  # type: ignore[assignment]
