# SPDX-License-Identifier: BSD-3-Clause
"""Base policies small enough to ship: tiny GR00T networks, trained by this repository's tools only."""

from pathlib import Path

_FOLDER = Path(__file__).resolve().parent


def base_checkpoint(name: str) -> str:
    """Folder of the shipped checkpoint ``name``, in the official layout; see the README beside this file."""
    return str(_FOLDER / name)
