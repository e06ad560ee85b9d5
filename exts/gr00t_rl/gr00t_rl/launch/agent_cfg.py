# SPDX-License-Identifier: BSD-3-Clause
"""Runner cfgs as the installed rsl_rl takes them."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any


def for_installed_rsl_rl(agent_cfg: Any) -> Any:
    """Let Isaac Lab bring a runner's cfg into the form of the installed rsl_rl; in place, and returned.

    Isaac Lab 3.0 has fields for older versions in its model cfgs, which this takes out. Later ones have neither, and
    the cfg stays as it is. Nothing else of the package uses these shims (``tests/test_isaac_lab_versions.py``).
    """
    from isaaclab_rl import rsl_rl

    migrate = getattr(rsl_rl, "handle_deprecated_rsl_rl_cfg", None)
    return agent_cfg if migrate is None else migrate(agent_cfg, version("rsl-rl-lib"))
