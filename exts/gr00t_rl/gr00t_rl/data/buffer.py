# SPDX-License-Identifier: BSD-3-Clause
"""Recording batched envs: every env's running episode, cut out when it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch


class EpisodeBuffer:
    """Holds the running episode of each of N envs, in tensors [max_length, N, ...] in host memory.

    Whole episodes of pictures take far more than one step of them, and a GPU has a simulator and a renderer to hold.

    Args:
        num_envs: Number of envs N.
        max_length: Most env steps of an episode.
    """

    def __init__(self, num_envs: int, max_length: int):
        self._num_envs, self._max_length = num_envs, max_length
        self._length = torch.zeros(num_envs, dtype=torch.long)
        self._envs = torch.arange(num_envs)
        self._values: dict[str, torch.Tensor] = {}

    def record(self, values: Mapping[str, torch.Tensor]) -> None:
        """Add one env step with its values, tensors [N, ...] on any device. They are copied.

        Raises:
            IndexError: If an episode is longer than ``max_length``.
        """
        self._length += 1
        for name, value in values.items():
            self.amend(name, value)

    def amend(self, name: str, value: torch.Tensor) -> None:
        """Add what the last step brought, such as its reward [N], to what was recorded before it."""
        if name not in self._values:
            shape = (self._max_length, self._num_envs, *value.shape[1:])
            self._values[name] = torch.zeros(shape, dtype=value.dtype)
        self._values[name][self._length - 1, self._envs] = value.to("cpu")

    def cut(self, done: torch.Tensor) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
        """End the episodes of the envs where ``done``, bool [N], is True.

        Yields:
            Of each, in the envs' order, the env's number and what was recorded: name -> [T, ...].
        """
        done = done.to("cpu")
        for env in done.nonzero().flatten().tolist():
            length = int(self._length[env])
            yield env, {name: value[:length, env].clone() for name, value in self._values.items()}
        self._length[done] = 0

    def clear(self) -> None:
        """Forget all running episodes."""
        self._length.zero_()
