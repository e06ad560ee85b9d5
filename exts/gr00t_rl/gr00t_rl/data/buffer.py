# SPDX-License-Identifier: BSD-3-Clause
"""Recording batched envs: every env's running episode, cut out when it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch


class EpisodeBuffer:
    """Holds the running episode of each of N envs, in tensors [max_length, N, ...] on the envs' device.

    Args:
        num_envs: Number of envs N.
        max_length: Most env steps of an episode.
        device: Device of the recorded tensors.
    """

    def __init__(self, num_envs: int, max_length: int, device: str | torch.device = "cpu"):
        self._num_envs, self._max_length = num_envs, max_length
        self._length = torch.zeros(num_envs, dtype=torch.long, device=device)
        self._envs = torch.arange(num_envs, device=device)
        self._values: dict[str, torch.Tensor] = {}

    def record(self, values: Mapping[str, torch.Tensor]) -> None:
        """Add one env step with its values, tensors [N, ...]. They are copied.

        Raises:
            IndexError: If an episode is longer than ``max_length``.
        """
        self._length += 1
        for name, value in values.items():
            self.amend(name, value)

    def amend(self, name: str, value: torch.Tensor) -> None:
        """Add what the last step brought, such as its reward [N], to what was recorded before it."""
        if name not in self._values:
            self._values[name] = value.new_zeros(self._max_length, self._num_envs, *value.shape[1:])
        self._values[name][self._length - 1, self._envs] = value

    def cut(self, done: torch.Tensor) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
        """End the episodes of the envs where ``done``, bool [N], is True.

        Yields:
            Of each, in the envs' order, the env's number and what was recorded: name -> [T, ...] on the CPU.
        """
        for env in done.nonzero().flatten().tolist():
            length = int(self._length[env])
            yield env, {name: value[:length, env].to("cpu", copy=True) for name, value in self._values.items()}
        self._length[done] = 0

    def clear(self) -> None:
        """Forget all running episodes."""
        self._length.zero_()
