# SPDX-License-Identifier: BSD-3-Clause
"""Options of a run and its task that Isaac Lab or our env cfgs have: ``agent.*`` and ``env.*``."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

from ..utils.devices import device_problem
from ..utils.extras import how_to_get
from .base import Options
from .declaration import option


def _logger_problem(name: str) -> str | None:
    if name == "wandb":
        return _wandb_problem()
    if name == "neptune" and importlib.util.find_spec("neptune") is None:
        return "neptune is not installed; pip install neptune, or set tensorboard"
    return None


def _wandb_problem() -> str | None:
    """Say what is wrong with the installed wandb, if anything: not every version suits Isaac Lab."""
    remedy = f"{how_to_get('wandb')}, or set tensorboard"
    if importlib.util.find_spec("wandb") is None:
        return f"wandb is not installed; {remedy}"
    try:
        wandb = importlib.import_module("wandb")
    except ImportError as error:
        return f"wandb does not load ({error}); {remedy}"
    if not hasattr(wandb.util, "generate_id"):
        return f"Isaac Lab 3.0 needs wandb.util.generate_id, which wandb {wandb.__version__} does not have; {remedy}"
    return None


@dataclass
class RunnerOptions(Options):
    """The runner: rsl_rl's, as Isaac Lab configures it."""

    seed: int = option(42, "Seed of the run; -1 draws one.", low=-1, high=2**32 - 1)
    class_name: str = option("OnPolicyRunner", "rsl_rl's runner.", choices=("OnPolicyRunner",))
    device: str = option("cpu", "Device of models and storage.", test=device_problem)
    num_steps_per_env: int | None = option(
        24, "Env steps per iteration. GRPO: at least an episode's, which is what null means.", low=1
    )
    max_iterations: int = option(100, "Iterations of the run; rates anneal to 0 at its end.", low=1)
    total_iterations: int | None = option(
        None,
        "Iterations of the run and of those that it goes on from, in place of max_iterations; --checkpoint latest then "
        "begins anew where there is no run yet.",
        low=1,
    )
    save_interval: int = option(25, "Iterations between two checkpoints.", low=1)
    keep_checkpoints: int | None = option(
        None,
        "Checkpoints of the run that stay, the newest, besides model_best.pt (evaluation_interval). Null: all.",
        low=1,
    )
    evaluation_interval: int | None = option(
        None,
        "Iterations between two evaluations without exploration noise, one episode per env; the last iteration has one "
        "too. Each writes a checkpoint, and the one of the highest success is model_best.pt. Null: none.",
        low=1,
    )
    experiment_name: str = option("", "Folder of the runs under logs/rsl_rl.", least=1)
    run_name: str = option("", "Added to the name of the run's folder.")
    logger: str = option(
        "tensorboard",
        "Where metrics go besides the console; TensorBoard is written always.",
        choices=("tensorboard", "wandb", "neptune"),
        test=_logger_problem,
    )
    wandb_project: str = option("isaaclab", "Project at Weights & Biases.", least=1, only_with=("logger", ("wandb",)))
    obs_groups: dict[str, list[str]] = option({}, "Observation groups that actor and critic read.")
    clip_actions: float | None = option(None, "Bound of the actions; null for none.", above=0)
    check_for_nan: bool = option(True, "Not used by our algorithms, which leave out single bad envs.")
    init_at_random_ep_len: bool = option(
        False, "Start episodes at random times: it cuts the first ones short and biases the success rate."
    )


@dataclass
class TaskOptions(Options):
    """What a task for GR00T agents adds to an Isaac Lab env cfg."""

    instruction: str = option("", "What the language model is told to do.", least=1)
    instructions: list[str] = option(
        [], "Ways to say it, the first of them instruction; one for each task where a scene has several."
    )
    sample_instructions: bool = option(
        False, "Draw one of the instructions per episode, and say which in the observation group instruction."
    )
    start_group_size: int | None = option(
        None, "Neighbouring envs that start alike (GRPO); what the agent asks for where null.", low=1
    )
    robot_type: str = option("robot", "Name of the robot in the datasets of `gr00t-rl collect`.", least=1)


@dataclass
class TabletopOptions(TaskOptions):
    """What our tabletop tasks add to that."""

    camera_size: int = option(64, "Height and width of the pictures [px]; released: 224 for N1.5, 256 for N1.7.", low=1)
    wrist_camera: bool = option(
        True, "Camera variants have the wrist camera; without it agent.obs_groups must not name it either."
    )


@dataclass
class EnvOptions(Options):
    """Isaac Lab's own settings of an env."""

    seed: int | None = option(None, "Seed of the env; the agent's where null.", low=-1, high=2**32 - 1)
    decimation: int = option(2, "Physics steps per env step.", low=1)
    episode_length_s: float = option(8.0, "Longest episode [s].", above=0)
    compute_final_obs: bool = option(True, "Report the true last observation of an episode, which time-outs need.")


@dataclass
class SimulationOptions(Options):
    """Isaac Lab's own settings of the simulation: ``env.sim.*``."""

    dt: float = option(0.01, "Physics step [s].", above=0)
    render_interval: int = option(2, "Physics steps per rendering.", low=1)


@dataclass
class SceneOptions(Options):
    """Isaac Lab's own settings of a scene: ``env.scene.*``."""

    num_envs: int = option(1, "Envs that run at once.", low=1)
    env_spacing: float = option(2.5, "Distance between neighbouring envs [m].", low=0)


@dataclass
class CurriculumOptions(Options):
    """A curriculum that follows the success rate: ``env.curriculum.difficulty.params.*``."""

    threshold: float = option(0.7, "Share of successes at which starts get harder.", above=0, high=1)
    step: float = option(0.1, "How much harder at once.", above=0, high=1)
    episodes: int = option(256, "Last episodes that are looked at.", low=1)
    start: float = option(0.0, "Difficulty at the beginning.", low=0, high=1)


@dataclass
class RewardOptions(Options):
    """A reward term: ``env.rewards.TERM.*``."""

    weight: float = option(1.0, "Weight of the term [1/s].")
    func: Any = option(None, "The term's function.")
