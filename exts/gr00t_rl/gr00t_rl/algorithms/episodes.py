# SPDX-License-Identifier: BSD-3-Clause
"""Episodes of an iteration: how many ended, and the first one of every env."""

from __future__ import annotations

import torch


class FirstEpisodes:
    """Adds up one episode per env, from a reset of all envs to the first end of each.

    Args:
        num_envs: Number of envs N.
        gamma: Discount per env step of what is learned from.
        device: Device of the arrays.
    """

    def __init__(self, num_envs: int, gamma: float, device: str | torch.device) -> None:
        self.gamma = gamma
        self.alive = torch.ones(num_envs, dtype=torch.bool, device=device)
        """Envs whose first episode goes on, bool [N]."""
        self.rewards = torch.zeros(num_envs, device=device)
        """Sum of the episode's rewards, float32 [N]."""
        self.discounted = torch.zeros(num_envs, device=device)
        """Sum of gamma^i r_i, float32 [N]."""
        self.lengths = torch.zeros(num_envs, dtype=torch.long, device=device)
        """Env steps of the episode, int64 [N]."""
        self.success = torch.zeros(num_envs, dtype=torch.bool, device=device)
        """Episodes that ended in success, bool [N]."""
        self.timed_out = torch.zeros_like(self.success)
        """Episodes that ended because their time was up, bool [N]; none where the env does not say."""
        self.instruction = torch.zeros_like(self.lengths)
        """Number of the instruction that an ended episode had, int64 [N]; 0 where the env does not say."""
        self.spoiled = torch.zeros_like(self.alive)
        """Episodes that something not finite broke off, bool [N]: nobody's, and of no group."""

    def begin(self) -> None:
        """Forget all episodes; the envs have been reset."""
        self.alive.fill_(True)
        outcomes = (self.success, self.timed_out, self.instruction, self.spoiled)
        for array in (self.rewards, self.discounted, self.lengths, *outcomes):
            array.zero_()

    def spoil(self, envs: torch.Tensor) -> None:
        """Break off the episodes under way in the envs flagged in ``envs`` [N]."""
        self.spoiled |= self.alive & envs
        self.alive &= ~envs

    def step(
        self,
        rewards: torch.Tensor,
        dones: torch.Tensor,
        success: torch.Tensor | None,
        instruction: torch.Tensor | None = None,
        time_outs: torch.Tensor | None = None,
    ) -> None:
        """Add one env step.

        Args:
            rewards: Rewards r_i, float32 [N].
            dones: Episode ends, [N], non-zero where the env was reset after this step.
            success: Whether an episode that ends now has succeeded, bool [N]; None if the env does not say.
            instruction: Number of the instruction that it had, int64 [N]; None if the env does not say.
            time_outs: Whether its time was up, [N]; None if the env does not say.
        """
        self.rewards += torch.where(self.alive, rewards, 0.0)
        self.discounted += torch.where(self.alive, self.gamma**self.lengths * rewards, 0.0)
        self.lengths += self.alive
        ended = self.alive & dones.bool()
        if success is not None:
            self.success |= ended & success
        if time_outs is not None:
            self.timed_out |= ended & time_outs.to(ended.device).bool()
        if instruction is not None:
            self.instruction = torch.where(ended, instruction, self.instruction)
        self.alive &= ~ended


class Endings:
    """Counts the episodes that end, and those that succeed, until somebody takes the numbers.

    Args:
        device: Device of the counts.
    """

    def __init__(self, device: str | torch.device) -> None:
        self._counts = torch.zeros(2, device=device)

    def step(self, dones: torch.Tensor, success: torch.Tensor | None) -> None:
        """Add one env step.

        Args:
            dones: Episode ends, [N].
            success: Whether an episode that ends now has succeeded, bool [N]; None if the env does not say: nothing
                counts then.
        """
        if success is not None:
            ended = dones.bool()
            self._counts += torch.stack((ended.sum(), (ended & success.to(ended.device)).sum()))

    def take(self) -> tuple[torch.Tensor, ...]:
        """Return the episodes that ended since the last call, and those that succeeded, 0-d each; begin anew."""
        counts, self._counts = self._counts, torch.zeros_like(self._counts)
        return counts.unbind()
