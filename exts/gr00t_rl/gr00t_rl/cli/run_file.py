# SPDX-License-Identifier: BSD-3-Clause
"""``--checkpoint`` of the verbs that read a run's policy and simulate nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ..utils.errors import ConfigurationError


def run_file(checkpoint: str, task: str | None, agent: str) -> Path:
    """Return the ``model_N.pt`` that ``--checkpoint`` names.

    Args:
        checkpoint: A file, a run's folder, or "latest" or "best".
        task: Task id, for "latest" and "best".
        agent: Agent, for these.

    Raises:
        ConfigurationError: There is no such run, or it is named by base weights.
    """
    from ..launch.checkpoints import apply_checkpoint

    agent_cfg: Any = SimpleNamespace()
    if checkpoint in ("latest", "best"):
        if task is None:
            raise ConfigurationError(f"--checkpoint {checkpoint} is that of a task; set --task, and --agent")
        from ..tasks.known_tasks import unknown_task

        problem = unknown_task(task)
        if problem is not None:
            raise ConfigurationError(problem)
        from isaaclab_tasks.utils import load_cfg_from_registry

        agent_cfg = load_cfg_from_registry(task, agent)
    path = apply_checkpoint(checkpoint, "export", agent_cfg, task or "", agent)
    assert path is not None
    return Path(path)
