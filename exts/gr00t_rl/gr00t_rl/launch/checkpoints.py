# SPDX-License-Identifier: BSD-3-Clause
"""What ``--checkpoint`` means, for train, play, evaluate and export alike."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..utils.errors import ConfigurationError, first_line
from ..utils.kept_checkpoints import BEST_MODEL

BASE = "base"
_MODEL = re.compile(r"model_(\d+)\.pt")
_WAYS = "set a model_N.pt, a run's folder, 'latest', 'best', wandb:ENTITY/PROJECT/RUN_ID, 'base' or a GR00T folder"


class NoRunYet(ConfigurationError):
    """There is no run to go on from."""


def apply_checkpoint(checkpoint: str, program: str, agent_cfg: Any, task: str, agent: str) -> str | None:
    """Find out what to load, and set it in the agent's cfg, where the checks before the start look at it.

    Args:
        checkpoint: "latest" for the last model of the newest run of this task and agent; "best" for its
            model_best.pt; a model_N.pt, also by URL; a run's folder for its last model; a Weights & Biases run
            (``wandb:ENTITY/PROJECT/RUN_ID`` or its address, with ``?checkpoint=N`` for one model); "base" for the
            agent's own base weights; or a GR00T checkpoint's folder, which becomes the base.
        program: "train", "play", "evaluate" or "export"; play and export have no use for base weights.
        agent_cfg: The runner's cfg; changed in place.
        task: Task id.
        agent: Name of the agent's cfg entry point.

    Returns:
        Path of the file to load; None where nothing is loaded over the base weights.

    Raises:
        ConfigurationError: If there is no such checkpoint, or the agent cannot load it.
    """
    folder = Path(checkpoint).expanduser()
    if checkpoint == BASE or (folder / "config.json").is_file():
        if program == "export":
            raise ConfigurationError(
                f"--checkpoint {checkpoint} names base weights, but export writes what a run made of them; set a "
                "model_N.pt, a run's folder, or 'latest' or 'best' with --task"
            )
        if program == "play":
            raise ConfigurationError(
                f"--checkpoint {checkpoint} names base weights, but play needs the model_*.pt of a run, which it also "
                "exports; see base weights with gr00t-rl evaluate --video"
            )
        if checkpoint != BASE:
            _set_base(checkpoint, agent_cfg, agent)
        return None
    if checkpoint in ("latest", "best"):
        path = _of_newest_run(checkpoint, agent_cfg, task, agent)
    elif checkpoint == "pretrained":
        raise ConfigurationError(f"--checkpoint pretrained: Isaac Lab publishes none for {task}; {_WAYS}")
    elif checkpoint.startswith("wandb:") or "wandb.ai/" in checkpoint:
        path = _from_wandb(checkpoint)
    elif "://" in checkpoint:
        path = _from_url(checkpoint)
    elif folder.is_dir():
        path = last_model(folder)
    elif folder.is_file():
        path = folder
    else:
        raise ConfigurationError(f"--checkpoint {checkpoint} does not exist; {_WAYS}")
    agent_cfg.load_checkpoint = str(path)
    return str(path)


def count_down(agent_cfg: Any, path: str | None) -> None:
    """Set the iterations that are left of ``agent.total_iterations``, where it is set; ends the program if none are.

    Args:
        agent_cfg: The runner's cfg; changed in place.
        path: The checkpoint that the run goes on from; None where it begins anew.
    """
    total = agent_cfg.total_iterations
    if total is None:
        return
    if not isinstance(total, int) or total < 1:
        raise ConfigurationError(f"agent.total_iterations is {total!r}; set an integer of at least 1, or null")
    done = 0
    if path is not None:
        from ..utils.runner_files import check_readable  # loads rsl_rl's runner

        done = check_readable(path)["algorithm_state_dict"]["iteration"]
    if done >= total:
        print(f"[gr00t_rl] {path} has done {done} of agent.total_iterations={total}: nothing is left to do", flush=True)
        raise SystemExit(0)
    agent_cfg.max_iterations = total - done


def last_model(folder: Path) -> Path:
    """Return the model of a run's folder with the highest number. Raises ConfigurationError if it has none."""
    models = {int(match[1]): file for file in folder.iterdir() if (match := _MODEL.fullmatch(file.name))}
    if not models:
        raise ConfigurationError(
            f"--checkpoint {folder} holds neither a model_N.pt nor a config.json of GR00T; set another folder, or a "
            "file, or 'latest'"
        )
    return models[max(models)]


def _set_base(checkpoint: str, agent_cfg: Any, agent: str) -> None:
    """Make a GR00T checkpoint the agent's base weights."""
    if "Gr00tActor" not in agent_cfg.actor.class_name:
        raise ConfigurationError(
            f"--checkpoint {checkpoint} is a GR00T checkpoint, but --agent {agent} has the actor "
            f"{agent_cfg.actor.class_name!r}; choose an agent with Gr00tActor"
        )
    agent_cfg.actor.checkpoint = str(Path(checkpoint).expanduser())


def _of_newest_run(selector: str, agent_cfg: Any, task: str, agent: str) -> Path:
    """Return the last or the best model of the newest run of this task and agent that has one."""
    from isaaclab_rl.entrypoints.common import resolve_checkpoint_selector

    root = Path("logs") / "rsl_rl" / agent_cfg.experiment_name
    pattern = _MODEL.pattern if selector == "latest" else re.escape(BEST_MODEL)
    try:
        found = resolve_checkpoint_selector(
            str(root), "latest", library="rsl_rl", task=task, checkpoint_pattern=pattern, metadata={"agent": agent}
        )
    except ValueError:
        wanted, instead = (
            ("run with a model_N.pt", "train one, or set a file")
            if selector == "latest"
            else (f"run with a {BEST_MODEL}", "train with agent.evaluation_interval, or set 'latest' or a model_N.pt")
        )
        raise NoRunYet(
            f"--checkpoint {selector}: {root} has no {wanted} of --task {task} --agent {agent}; {instead}"
        ) from None
    return Path(found)


def _from_wandb(checkpoint: str) -> Path:
    """Download a model of a Weights & Biases run."""
    from isaaclab_rl.utils.wandb import is_wandb_checkpoint, resolve_wandb_checkpoint

    if not is_wandb_checkpoint(checkpoint):
        raise ConfigurationError(
            f"--checkpoint {checkpoint} names no run; write wandb:ENTITY/PROJECT/RUN_ID or "
            "https://wandb.ai/ENTITY/PROJECT/runs/RUN_ID, with ?checkpoint=N for model_N.pt"
        )
    try:
        return Path(resolve_wandb_checkpoint(checkpoint))
    except Exception as error:  # wandb's own, those of its network library, Isaac Lab's ValueError and ImportError
        raise ConfigurationError(
            f"--checkpoint {checkpoint} cannot be fetched ({first_line(error, 160)}); check the name, the network and "
            "`wandb login`, or download the model_N.pt and set its path"
        ) from None


def _from_url(checkpoint: str) -> Path:
    """Download a file by Isaac Lab's own means (http, https, s3, omniverse)."""
    from isaaclab.utils.assets import retrieve_file_path

    try:
        return Path(retrieve_file_path(checkpoint))
    except Exception as error:  # whatever the transport raises
        raise ConfigurationError(
            f"--checkpoint {checkpoint} cannot be fetched ({first_line(error, 160)}); download the model_N.pt and "
            "set its path"
        ) from None
