# SPDX-License-Identifier: BSD-3-Clause
"""Which episodes of a vectorised env count, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

StartPoints = Callable[[], Mapping[str, torch.Tensor]]
"""Returns the present positions, float [M, 3] [m] in the env frame, by name."""


@dataclass(frozen=True)
class Episodes:
    """The counted episodes, in an order that does not depend on when they ended."""

    returns: np.ndarray
    """Sum of the env's rewards, undiscounted, float64 [N]."""
    lengths: np.ndarray
    """Env steps, int64 [N]."""
    success: np.ndarray | None
    """Whether the episode succeeded, bool [N]; None if the env reports no success."""
    starts: dict[str, np.ndarray]
    """Positions at the episode's start by name, float64 [N, 3] [m], env frame."""
    instruction: np.ndarray | None = None
    """Number of the instruction that the episode was given, int64 [N]; None if the env draws none."""


class EpisodeRecorder:
    """Counts a number of episodes per env that is fixed beforehand: ceil(N / M) of the first envs, one less of others.

    Taking the first N episodes that end instead would favour short ones, and where success ends an episode that
    means successful ones. Everything stays on the device until :meth:`episodes`.

    Args:
        num_envs: Number of envs M; all are at the start of an episode.
        num_episodes: Number of counted episodes N.
        device: Device of the env's tensors.
        start_points: Called here and after every step for the positions that :attr:`Episodes.starts` keeps.
    """

    def __init__(
        self, num_envs: int, num_episodes: int, device: str | torch.device, start_points: StartPoints = dict
    ) -> None:
        self.num_episodes = num_episodes
        self._env = torch.arange(num_envs, device=device)
        # episode number k of env e is number k M + e of all
        self._quota = torch.div(num_episodes - self._env + num_envs - 1, num_envs, rounding_mode="floor")
        self._spare = -(-num_episodes // num_envs)
        shape = (self._spare + 1, num_envs)  # what does not count is written to the spare row: no shape depends on data
        self._returns = torch.zeros(shape, dtype=torch.float64, device=device)
        self._lengths = torch.zeros(shape, dtype=torch.long, device=device)
        self._success: torch.Tensor | None = None
        self._instruction: torch.Tensor | None = None
        self._count = torch.zeros(num_envs, dtype=torch.long, device=device)
        self._return = torch.zeros(num_envs, dtype=torch.float64, device=device)
        self._length = torch.zeros(num_envs, dtype=torch.long, device=device)
        self._start_points = start_points
        self._starts = {
            name: torch.zeros(*shape, 3, dtype=torch.float64, device=device) for name in self._start_points()
        }
        self._begin(torch.ones(num_envs, dtype=torch.bool, device=device))

    def _row(self, where: torch.Tensor) -> torch.Tensor:
        """Row of the buffers for each env's present episode where that is asked for and counts, int64 [M]."""
        return torch.where(where & (self._count < self._quota), self._count, self._spare)

    def _begin(self, started: torch.Tensor) -> None:
        """Keep where the episodes of the envs flagged in ``started`` [M] start."""
        row = self._row(started)
        for name, position in self._start_points().items():
            self._starts[name][row, self._env] = position.double()

    def step(
        self,
        rewards: torch.Tensor,
        dones: torch.Tensor,
        success: torch.Tensor | None,
        instruction: torch.Tensor | None = None,
    ) -> None:
        """Add one env step, after which the env has reset what is done.

        Args:
            rewards: Float [M].
            dones: Non-zero where an episode ended, [M].
            success: Where one ended, whether it succeeded, bool [M]; None if the env does not say.
            instruction: Where one ended, the number of its instruction, int64 [M]; None if the env draws none.
        """
        ended = dones.bool()
        self._return += rewards
        self._length += 1
        row = self._row(ended)
        self._returns[row, self._env] = self._return
        self._lengths[row, self._env] = self._length
        if success is not None:
            if self._success is None:
                self._success = torch.zeros_like(self._lengths, dtype=torch.bool)
            self._success[row, self._env] = success
        if instruction is not None:
            if self._instruction is None:
                self._instruction = torch.zeros_like(self._lengths)
            self._instruction[row, self._env] = instruction
        self._count += ended
        self._return.masked_fill_(ended, 0.0)
        self._length.masked_fill_(ended, 0)
        self._begin(ended)

    def cut(self) -> None:
        """End the episodes under way as they are, without success."""
        now = torch.ones_like(self._count, dtype=torch.bool)
        self._length -= 1  # the step below is none
        self.step(torch.zeros_like(self._return), now, None if self._success is None else ~now)

    @property
    def finished(self) -> torch.Tensor:
        """Envs all of whose counted episodes have ended, bool [M]."""
        return self._count >= self._quota

    @property
    def ended(self) -> torch.Tensor:
        """Counted episodes that have ended, a 0-d int64 tensor."""
        return self._count.minimum(self._quota).sum()

    def episodes(self) -> Episodes:
        """Return the counted episodes; all must have ended.

        Raises:
            ValueError: If some are still running.
        """
        ended = int(self.ended)
        if ended < self.num_episodes:
            raise ValueError(f"{ended} of {self.num_episodes} episodes have ended")

        def flat(buffer: torch.Tensor) -> np.ndarray:
            return buffer[: self._spare].flatten(0, 1)[: self.num_episodes].cpu().numpy()

        success = None if self._success is None else flat(self._success)
        instruction = None if self._instruction is None else flat(self._instruction)
        starts = {name: flat(position) for name, position in self._starts.items()}
        return Episodes(flat(self._returns), flat(self._lengths), success, starts, instruction)
