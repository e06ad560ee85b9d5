# SPDX-License-Identifier: BSD-3-Clause
"""The estimate at the start of a training run, before the simulator starts."""

from __future__ import annotations

from typing import Any

from ..utils import process_group
from ..utils.errors import ConfigurationError


def check_memory(env_cfg: Any, agent_cfg: Any | None) -> None:
    """Print what training a GR00T agent will need, on rank 0, and refuse what cannot fit.

    Args:
        env_cfg: The env's cfg, with all settings applied.
        agent_cfg: The runner cfg whose agent is trained; nothing is done where None, or where it has another actor.

    Raises:
        ConfigurationError: It cannot fit.
    """
    if agent_cfg is None or "Gr00tActor" not in str(agent_cfg.actor.class_name):
        return
    if process_group.rank() != 0:
        return
    from .estimate import Subject, show  # loads the network's code, which an env alone does not need

    try:
        show(Subject(env_cfg, agent_cfg, env_cfg.sim.device))
    except ConfigurationError:
        raise
    except Exception as error:  # what only an estimate cannot do must not end a run
        print(f"[gr00t_rl] the memory of this run could not be estimated: {type(error).__name__}: {error}", flush=True)
