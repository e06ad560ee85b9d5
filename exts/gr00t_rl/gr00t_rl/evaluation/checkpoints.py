# SPDX-License-Identifier: BSD-3-Clause
"""What ``--checkpoint`` of an evaluation means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..utils.errors import ConfigurationError

BASE = "base"
_MODELS = r"model_.*\.pt"


def apply_checkpoint(checkpoint: str, agent_cfg: Any, task: str, agent: str) -> str | None:
    """Find out what to load, and set it in the agent's cfg, where the checks before the start look at it.

    Args:
        checkpoint: "base" for the agent's own base weights; "latest" for the newest run of this task and agent; a
            model_N.pt; a run's folder for its last model; or a GR00T checkpoint's folder, which becomes the base.
        agent_cfg: The runner's cfg; changed in place.
        task: Task id.
        agent: Name of the agent's cfg entry point.

    Returns:
        Path of the file to load or of the base's folder; None for the agent's own base.

    Raises:
        ConfigurationError: If there is no such checkpoint, or the agent cannot load it.
    """
    if checkpoint == BASE:
        return None
    path = Path(checkpoint).expanduser()
    if checkpoint == "latest":
        path = _latest(agent_cfg, task, agent)
    elif (path / "config.json").is_file():
        if "Gr00tActor" not in agent_cfg.actor.class_name:
            raise ConfigurationError(
                f"--checkpoint {checkpoint} is a GR00T checkpoint, but --agent {agent} has the actor "
                f"{agent_cfg.actor.class_name!r}; choose an agent with Gr00tActor"
            )
        agent_cfg.actor.checkpoint = str(path)
        return str(path)
    elif path.is_dir():
        path = _last_model(path)
    elif not path.is_file():
        raise ConfigurationError(
            f"--checkpoint {checkpoint} does not exist; set a model_N.pt, a run's folder, a GR00T checkpoint's folder, "
            "'latest' or 'base'"
        )
    agent_cfg.load_checkpoint = str(path)
    return str(path)


def _latest(agent_cfg: Any, task: str, agent: str) -> Path:
    """Return the last model of the newest run of this task and agent."""
    from isaaclab_rl.entrypoints.common import resolve_checkpoint_selector

    root = Path("logs") / "rsl_rl" / agent_cfg.experiment_name
    try:
        found = resolve_checkpoint_selector(
            str(root), "latest", library="rsl_rl", task=task, checkpoint_pattern=_MODELS, metadata={"agent": agent}
        )
    except ValueError:
        raise ConfigurationError(
            f"--checkpoint latest: {root} has no run of --task {task} --agent {agent}; train one, or set a model_N.pt, "
            "or 'base' for the agent's base weights"
        ) from None
    return Path(found)


def _last_model(folder: Path) -> Path:
    """Return the model of a run's folder with the highest number."""
    models = {int(file.stem.removeprefix("model_")): file for file in folder.glob("model_*.pt") if _number(file)}
    if not models:
        raise ConfigurationError(
            f"--checkpoint {folder} holds neither a config.json of GR00T nor a model_N.pt; set another folder"
        )
    return models[max(models)]


def _number(file: Path) -> bool:
    return file.stem.removeprefix("model_").isdigit()
