# SPDX-License-Identifier: BSD-3-Clause
"""Folders that a command is asked to write."""

from __future__ import annotations

from pathlib import Path

from .errors import ConfigurationError


def check_checkpoint_folder(option: str, folder: Path) -> None:
    """Refuse a folder for a GR00T checkpoint that holds something else: the check of the save, hours earlier.

    Args:
        option: The command's option that named it.
        folder: New, empty, or a checkpoint that will be replaced.

    Raises:
        ConfigurationError: It is a file, or holds files but no checkpoint.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / "config.json").is_file())):
        raise ConfigurationError(f"{option} {folder} exists and is no checkpoint; give a new folder")
