# SPDX-License-Identifier: BSD-3-Clause
"""A folder on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from ..utils.errors import ConfigurationError, first_line
from .card import HUB_ID


def check_target(target: str) -> None:
    """Refuse what is no name of a model on the hub, and a machine that has no token, before anything is read.

    Raises:
        ConfigurationError: It is none, or there is no token.
    """
    from huggingface_hub import get_token

    if not HUB_ID.fullmatch(target):
        raise ConfigurationError(f"--push-to-hub is {target!r}; set ORG/NAME")
    if get_token() is None:
        raise ConfigurationError(
            f"--push-to-hub {target} needs a token that may write; run `hf auth login`, or set HF_TOKEN"
        )


def push(folder: Path, target: str) -> str:
    """Upload a folder as a model, which is private if it is new, and return its address.

    Args:
        folder: A whole checkpoint; it stays as it is.
        target: ORG/NAME.

    Raises:
        ConfigurationError: The hub cannot be reached or refuses it.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="gr00t_rl")
    try:
        address = api.create_repo(target, private=True, exist_ok=True)
        api.upload_folder(repo_id=target, folder_path=folder, commit_message="gr00t-rl export")
    except Exception as error:  # the hub's own errors, those of its network library, and OSError
        reason = first_line(error, 160)
        raise ConfigurationError(
            f"--push-to-hub {target}: {reason}; {folder} is whole, so that `hf upload {target} {folder}` can repeat it"
        ) from None
    return str(address)
