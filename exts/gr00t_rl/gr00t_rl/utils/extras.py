# SPDX-License-Identifier: BSD-3-Clause
"""How to get what a feature needs."""


def how_to_get(extra: str) -> str:
    """Return the command that installs an extra of this package, with pip and in a clone."""
    return f"pip install 'gr00t_rl[{extra}]' (in a clone: uv run --extra {extra} …)"
