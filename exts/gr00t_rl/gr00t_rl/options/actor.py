# SPDX-License-Identifier: BSD-3-Clause
"""Options of the actors and their heads: ``agent.actor.*``."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from typing import Any

from ..gr00t.part_names import LORA_PARTS, PARTS
from .base import Options
from .declaration import Relation, option
from .mlp import ACTIVATIONS

HEADS = ("flow_sde", "flow_noise", "gaussian")
DTYPES = ("float32", "bfloat16")
FLASH = "flash_attention_2"
ATTENTION = ("sdpa", "eager", FLASH)
FEATURE_CACHES = ("device", "host", "pixels")


def _compiler_problem(mode: str) -> str | None:
    """Say what is missing for torch.compile: it writes C++, on CUDA too."""
    if mode != "off" and not any(map(shutil.which, (os.environ.get("CXX") or "g++", "clang++"))):
        return "there is no C++ compiler for it; set off, or install g++"
    return None


def _attention_problem(name: str) -> str | None:
    if name == FLASH and importlib.util.find_spec("flash_attn") is None:
        return "flash-attn is not installed; set sdpa, or pip install flash-attn on a machine with CUDA"
    return None


def fixed_noise(actor: Any) -> str | None:
    """Return why no weight changes the entropy of an actor with :class:`HeadOptions`, and what to set instead.

    None where some weight does, and for actors without a head.
    """
    head = getattr(actor, "head", None)
    if head == "flow_sde":
        return (
            "the noise of agent.actor.head=flow_sde is fixed by its schedule; set it to 0 and explore by "
            "agent.actor.noise_level, or set agent.actor.head=flow_noise or gaussian"
        )
    if head == "flow_noise" and actor.sigma_min == actor.sigma_max:
        return (
            f"agent.actor.sigma_min and sigma_max are both {actor.sigma_max} and leave the noise nothing to learn; "
            "set it to 0, or sigma_max higher"
        )
    return None


@dataclass
class HeadOptions(Options):
    """How a flow becomes a distribution."""

    head: str = option(
        "flow_sde",
        "flow_sde: the noise of an SDE (arXiv 2505.05470, 2510.25889); flow_noise: learned noise (ReinFlow, arXiv "
        "2505.22094); gaussian: the ODE's action plus a learned standard deviation.",
        choices=HEADS,
    )
    num_inference_timesteps: int = option(4, "Denoising steps K.", low=1)
    noise_level: float = option(
        0.5,
        "Level a of the SDE's noise, sigma = a sqrt((1 - t) / t); without noise the policy has no likelihood. At the "
        "first step see first_step_noise.",
        above=0,
        only_with=("head", ("flow_sde",)),
    )
    stochastic_steps: str = option(
        "one",
        "Denoising steps that are random: one, drawn anew for each decision, or all. With one, a decision's "
        "log-probability and KL are those of this one transition of K.",
        choices=("one", "all"),
        only_with=("head", ("flow_sde",)),
    )
    first_step_noise: str = option(
        "second_step",
        "Noise of the first step, where the level's formula diverges. second_step: the second's, a sqrt((1 - t_1) / "
        "t_1); published: a sqrt(1 / t_1), as in the code of Flow-GRPO and RLinf, at K = 4 a standard deviation 15 % "
        "larger.",
        choices=("second_step", "published"),
        only_with=("head", ("flow_sde",)),
    )
    noise_correlation: float = option(
        0.0,
        "Correlation rho of the noise between the steps of a chunk: independent noise cancels out over a chunk, one "
        "and the same moves the robot (docs/design.md).",
        low=0,
        below=1,
        only_with=("head", ("flow_sde", "gaussian")),
    )
    init_std: float = option(
        0.3,
        "Initial standard deviation of the action, in normalised action units.",
        above=0,
        only_with=("head", ("gaussian",)),
    )
    sigma_min: float = option(
        0.05, "Lower bound of the learned noise of a denoising step.", above=0, only_with=("head", ("flow_noise",))
    )
    sigma_max: float = option(
        0.2, "Upper bound of the learned noise of a denoising step.", above=0, only_with=("head", ("flow_noise",))
    )

    @classmethod
    def relations(cls) -> tuple[Relation, ...]:
        return (
            *super().relations(),
            Relation(
                "sigma_max",
                lambda o: o.head != "flow_noise" or o.sigma_max >= o.sigma_min,
                "at least {sigma_min}",
            ),
        )


@dataclass
class FlowActorOptions(HeadOptions):
    """What flow policies have in common: their chunks and their heads."""

    n_action_steps: int = option(8, "Actions of a chunk that are executed before the next decision.", low=1)
    init_noise_scale: float = option(
        1.0, "Scale of the initial noise x_0, in rollout and evaluation: 1 as trained, 0 deterministic.", low=0
    )
    log_prob_over: str = option(
        "executed",
        "What the log-probability counts: executed steps and real action dimensions, or the whole chain. Only chain, "
        "with all steps random, is the exact density (docs/design.md).",
        choices=("executed", "chain"),
    )
    align_decisions: bool = option(
        False,
        "All envs decide at the same steps, so that pictures are taken once per chunk; an env that is reset stays "
        "where it is until then, as far as the modality says how (docs/own_task.md), else it acts with zeros.",
    )
    obs_normalization: bool = option(False, "Normalise the state by its running moments.")
    distribution_cfg: None = option(None, "Not used; Isaac Lab's tooling expects it of every model.")


@dataclass
class Gr00tActorOptions(FlowActorOptions):
    """GR00T as the actor."""

    checkpoint: str = option(
        "tiny",
        "Folder or hub id of a GR00T N1.5 or N1.7 checkpoint; or tiny (N1.5) or tiny-n1.7: a small random network of "
        "the real architecture.",
        least=1,
    )
    tokenizer: str | None = option(
        None, "Folder or hub id of the tokenizer assets; the checkpoint's own folder where null.", least=1
    )
    embodiment_id: int = option(
        0,
        "Row of the per-embodiment weights (N1.5: gr1 24, oxe_droid 17, agibot_genie1 26, new_embodiment 31; N1.7: "
        "new_embodiment 10, libero_sim 2; a checkpoint of N1.7 lists them in embodiment_id.json).",
        low=0,
    )
    instruction: str | list[str] | None = option(
        None,
        "What the robot is told; the task's instruction where null. A list where the observation group instruction "
        "says which of them each env is given.",
        least=1,
    )
    modality: Any = option(
        None,
        "Maps observation groups and actions to the checkpoint's keys and applies its statistics. Null: all flat "
        "groups are the state, all pictures the views, in order, and actions are the env's as they are.",
    )
    feature_cache: str = option(
        "device",
        "Where an iteration's VL features are kept: device, host, or pixels (images are kept and encoded again).",
        choices=FEATURE_CACHES,
    )
    train: dict[str, str] = option(
        {**dict.fromkeys(PARTS, "off"), "dit": "full", "projectors": "full"},
        "What of each part is trained: off, lora (adapters in attention and feed-forward; vision, llm, "
        "vl_self_attention and dit have them) or full. projectors are the encoders of state and action and the action "
        "decoder. A part that is not named is off.",
        choices=("off", "lora", "full"),
    )
    lora_rank: int = option(16, "Rank r of the adapters (arXiv 2106.09685).", low=1)
    lora_alpha: float = option(16.0, "Scale of the adapters: their product counts alpha / r.", above=0)
    unfreeze: dict[str, int] = option(
        dict.fromkeys(PARTS, 0),
        "Iteration in which each trained part begins to learn; it is frozen before.",
        low=0,
    )
    dtype: str = option(
        "float32",
        "Type of the frozen part, and of the autocast around the trained one; likelihoods are float32 either way.",
        choices=DTYPES,
    )
    gradient_checkpointing: bool = option(
        False,
        "Keep only the input of each DiT block for the backward pass and run the block again there: less memory, more "
        "time, the same gradients (docs/memory.md).",
    )
    attn_implementation: str = option(
        "sdpa",
        "Attention kernels; flash_attention_2 needs flash-attn, CUDA and dtype=bfloat16.",
        choices=ATTENTION,
        test=_attention_problem,
    )
    compile: str = option(
        "off",
        "Compile the action head's velocity, in the denoising loop and in the update (torch.compile). The gate before "
        "the first update says what it does to the ratios.",
        choices=("off", "default"),
        test=_compiler_problem,
    )
    tiny_seed: int = option(0, "Seed of the random weights of tiny.", low=0)

    @classmethod
    def relations(cls) -> tuple[Relation, ...]:
        def trained(o: Any) -> set[str]:
            return {part for part, how in o.train.items() if how != "off"}

        def adapted(o: Any) -> set[str]:
            return {part for part, how in o.train.items() if how == "lora"}

        return (
            *super().relations(),
            Relation("train", lambda o: set(o.train) <= set(PARTS), f"only parts that there are: {', '.join(PARTS)}"),
            Relation(
                "train",
                lambda o: adapted(o) <= set(LORA_PARTS),
                f"lora only for {', '.join(LORA_PARTS)}; off or full for the others",
            ),
            Relation("train", lambda o: bool(trained(o)), "at least one part to lora or full"),
            Relation(
                "unfreeze",
                lambda o: {part for part, first in o.unfreeze.items() if first > 0} <= trained(o),
                "only parts that {train} trains",
            ),
            Relation(
                "unfreeze",
                lambda o: any(o.unfreeze.get(part, 0) == 0 for part in trained(o)),
                "0 for at least one part of {train}: something must learn from the start",
            ),
            Relation(
                "feature_cache",
                lambda o: "vision" not in trained(o) or o.feature_cache == "pixels",
                "pixels: by {train} the image encoder learns, and what it returns changes",
            ),
            Relation(
                "attn_implementation",
                lambda o: o.attn_implementation != FLASH or o.dtype == "bfloat16",
                "sdpa, or agent.actor.dtype=bfloat16 in place of {dtype}: flash-attn takes no float32",
            ),
        )


@dataclass
class FlowMlpActorOptions(FlowActorOptions):
    """A flow policy of MLP size."""

    hidden_dims: list[int] = option([256, 256, 256], "Widths of the hidden layers.", low=1, least=1)
    activation: str = option("mish", "Activation of the hidden layers.", choices=ACTIVATIONS)
    action_horizon: int = option(8, "Actions of a chunk, H.", low=1)
    obs_normalization: bool = True

    @classmethod
    def relations(cls) -> tuple[Relation, ...]:
        return (
            *super().relations(),
            Relation(
                "n_action_steps",
                lambda o: o.n_action_steps <= o.action_horizon,
                "at most {action_horizon}",
            ),
        )
