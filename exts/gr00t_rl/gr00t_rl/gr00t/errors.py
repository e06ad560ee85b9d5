# SPDX-License-Identifier: BSD-3-Clause
"""The one error a user of this package has to know."""


class CheckpointError(ValueError):
    """A checkpoint cannot be read or written. The message is one line: what is wrong, what was found, what to do."""

    def __init__(self, message: str):
        super().__init__(" ".join(message.split()))
