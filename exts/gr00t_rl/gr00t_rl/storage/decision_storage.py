# SPDX-License-Identifier: BSD-3-Clause
"""Rollout storage for decisions that last several env steps (options of a semi-MDP)."""

from __future__ import annotations

import torch
from tensordict import TensorDict

from .rows import ROW_GROWTH, RowBuffer


class DecisionStorage:
    """Stores one iteration of decisions, each an option with its own duration.

    A decision taken at state s runs for k env steps and earns R = sum_i gamma^i r_i, i = 0 ... k - 1; the next
    decision's value counts with gamma^k, or with 0 after an episode's end (Sutton, Precup & Singh, 1999). What is
    small and needed per env (rewards, values, discounts) lies in dense [D, N] arrays, slot d holding an env's d-th
    decision; what is large (observations, features, chains) is kept as flat rows of the decisions that really
    happened, so that padding costs nothing. The rows have their memory once, see :class:`RowBuffer`.

    Args:
        num_envs: Number of envs N.
        num_steps: Env steps per iteration, and so the most decisions D one env can take.
        gamma: Discount per env step.
        device: Device of the arrays.
        decision_steps: Env steps that a decision usually runs; says how many rows to make room for.
        aligned: Whether all envs decide at the same steps. Otherwise every reset starts one more decision.
    """

    def __init__(
        self,
        num_envs: int,
        num_steps: int,
        gamma: float,
        device: str | torch.device,
        decision_steps: int = 1,
        aligned: bool = False,
    ) -> None:
        self.num_envs, self.num_steps, self.gamma, self.device = num_envs, num_steps, gamma, device
        shape = (num_steps, num_envs)
        self.rewards = torch.zeros(shape, device=device)
        """Discounted reward of each decision, bootstrapped after a time-out, float32 [D, N]."""
        self.values = torch.zeros(shape, device=device)
        """Value at each decision, float32 [D, N]."""
        self.discounts = torch.zeros(shape, device=device)
        """Weight of the next decision's value: gamma^k, or 0 at an episode's end, float32 [D, N]."""
        self.durations = torch.zeros(shape, dtype=torch.long, device=device)
        """Env steps each decision ran, int64 [D, N]."""
        self.discarded = torch.zeros(shape, dtype=torch.bool, device=device)
        """Decisions that are left out of the records, bool [D, N]."""
        self._env = torch.arange(num_envs, device=device)
        self.expected_rows = num_envs * -(-num_steps // decision_steps)
        """Records of an iteration without resets."""
        most = self.expected_rows if aligned else int(ROW_GROWTH * self.expected_rows)
        self.room = min(most, num_envs * num_steps)
        """Records that there is room for at first. To grow later, both copies are held for a moment."""
        self._records = RowBuffer(self.room, device)
        self.clear()

    def clear(self) -> None:
        """Forget all decisions."""
        for array in (self.rewards, self.values, self.discounts, self.durations, self.discarded):
            array.zero_()
        self._slot = torch.full((self.num_envs,), -1, dtype=torch.long, device=self.device)
        self._running = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        self._elapsed = torch.zeros(self.num_envs, dtype=torch.long, device=self.device)
        self._rows: list[torch.Tensor] = []
        self._records.clear()

    def open(self, ids: torch.Tensor, record: TensorDict) -> None:
        """Begin a decision in the envs ``ids``; an earlier one there has ended.

        Args:
            ids: Env indices, int64 [B].
            record: What the update needs of each decision, batch size [B], with the key "value" [B] if it has one.
        """
        self._slot[ids] += 1
        self._elapsed[ids] = 0
        self._running[ids] = True
        row = self._slot[ids] * self.num_envs + ids
        if "value" in record.keys():  # noqa: SIM118  # iterating a TensorDict goes over its rows
            self.values.view(-1)[row] = record["value"]
        self._rows.append(row)
        leaves = record.items(include_nested=True, leaves_only=True)
        self._records.append(dict(leaves))  # pyright: ignore[reportArgumentType]  # leaves are tensors

    def step(self, rewards: torch.Tensor, dones: torch.Tensor, bootstrap: torch.Tensor | None = None) -> None:
        """Add one env step to the running decision of every env; after an episode's end it is nobody's until the next.

        Args:
            rewards: Rewards r_i, float32 [N].
            dones: Episode ends, [N], non-zero where the env was reset after this step.
            bootstrap: Value of the true final observation where a time-out ended the episode, else 0; float32 [N].
        """
        row = self._slot.clamp(min=0) * self.num_envs + self._env
        discount = self.gamma**self._elapsed * self._running
        reward = discount * rewards
        self._elapsed += 1
        discount = self.gamma**self._elapsed * self._running
        alive = 1.0 - dones.float()
        if bootstrap is not None:
            reward = reward + discount * bootstrap
        self.rewards.view(-1)[row] += reward
        # what has ended keeps its zero discount and its duration
        self.discounts.view(-1)[row] = discount * alive
        self.durations.view(-1)[row] += self._running.long()
        self._running &= ~dones.bool()

    def discard(self, envs: torch.Tensor) -> None:
        """Leave the running decisions of the envs flagged in ``envs`` [N] out of the records."""
        row = self._slot.clamp(min=0) * self.num_envs + self._env
        self.discarded.view(-1)[row] |= envs & self._running

    @property
    def latest_values(self) -> torch.Tensor:
        """Value at the latest decision of every env, float32 [N]; 0 before its first."""
        return self.values.view(-1)[self._slot.clamp(min=0) * self.num_envs + self._env]

    @property
    def valid(self) -> torch.Tensor:
        """Slots that hold a decision, bool [D, N]."""
        return torch.arange(self.num_steps, device=self.device)[:, None] <= self._slot

    @property
    def rows(self) -> torch.Tensor:
        """Position of each stored record in the flattened [D, N] arrays, int64 [R]; without those left out."""
        self._drop_discarded()
        return torch.cat(self._rows)

    def records(self) -> TensorDict:
        """Return the stored records, without those left out, as one TensorDict of batch size [R].

        Its tensors hold until :meth:`clear`.
        """
        self._drop_discarded()
        records = TensorDict({}, [len(self._records)], device=self.device)
        for name, rows in self._records.read().items():
            records[name] = rows
        return records

    def _drop_discarded(self) -> None:
        """Close the gaps that records which are left out make."""
        rows = torch.cat(self._rows)
        left_out = self.discarded.view(-1)[rows]
        if left_out.any():
            kept = (~left_out).nonzero().squeeze(-1)
            self._records.keep(kept)
            self._rows = [rows[kept]]
