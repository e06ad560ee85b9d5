# SPDX-License-Identifier: BSD-3-Clause
"""Open-loop execution of action chunks, one queue per env."""

from __future__ import annotations

import torch


class ChunkQueue:
    """Holds each env's current action chunk and hands out one action per env step.

    Args:
        num_envs: Number of envs N.
        length: Actions executed per decision, n.
        action_dim: Env action dimension A.
        device: Device of the buffers.
        aligned: Whether all envs decide at the same steps: one that is reset waits until the others' chunks are used
            up, n - 1 steps at most.
    """

    def __init__(
        self, num_envs: int, length: int, action_dim: int, device: str | torch.device, aligned: bool = False
    ) -> None:
        self.length, self.aligned = length, aligned
        self._chunks = torch.zeros(num_envs, length, action_dim, device=device)
        self._cursor = torch.full((num_envs,), length, dtype=torch.long, device=device)
        self._rows = torch.arange(num_envs, device=device)
        self._resting = torch.zeros(num_envs, dtype=torch.bool, device=device)
        self._begins_to_wait = torch.zeros_like(self._resting)

    def __len__(self) -> int:
        """Number of envs."""
        return len(self._rows)

    @property
    def due(self) -> torch.Tensor:
        """Envs whose chunk is used up and that must decide now, bool [N]."""
        return (self._cursor >= self.length) & ~self._resting

    def due_ids(self) -> torch.Tensor:
        """Indices of the due envs, int64.

        On a GPU this is the one host synchronisation of an env step: the number of deciding envs sizes the batch
        that the network runs on. Running the network on all envs instead would cost far more than it saves.
        """
        return self.due.nonzero().squeeze(-1)

    def push(self, ids: torch.Tensor, chunks: torch.Tensor) -> None:
        """Store new chunks [len(ids), n, A] for the envs ``ids``."""
        self._chunks[ids] = chunks
        self._cursor[ids] = 0
        self._begins_to_wait[ids] = False

    def pop(self, hold: torch.Tensor | None = None) -> torch.Tensor:
        """Return the next action of every env, [N, A]; no env may be due.

        Args:
            hold: Action with which each env would stay where it is now, [N, A]; zeros where None. One that begins to
                wait keeps this one until it decides: repeating the present state would follow an arm that sags.
        """
        if hold is not None:
            held = hold[:, None].to(self._chunks.dtype)
            self._chunks.copy_(torch.where(self._begins_to_wait[:, None, None], held, self._chunks))
            self._begins_to_wait.zero_()
        action = self._chunks[self._rows, self._cursor]
        self._cursor += ~self._resting
        return action

    def rest(self, envs: torch.Tensor) -> None:
        """Let the envs flagged in ``envs`` [N] wait, undecided, until all envs are cleared."""
        self._wait(envs & ~self._resting)
        self._resting |= envs
        self._cursor.masked_fill_(self._resting, 0)

    def clear(self, dones: torch.Tensor | None = None) -> None:
        """Drop what is left of the chunks of the envs flagged in ``dones`` [N] (all envs without it).

        They decide next, or when all do if decisions are aligned.
        """
        if dones is None:
            self._cursor.fill_(self.length)
            self._resting.zero_()
            self._begins_to_wait.zero_()
        elif self.aligned:
            self._wait(dones.bool())
        else:
            self._wait(dones.bool() & self._resting)
            self._cursor.masked_fill_(dones.bool() & ~self._resting, self.length)

    def _wait(self, envs: torch.Tensor) -> None:
        """Let the envs flagged in ``envs`` [N] stay from now on where they are."""
        self._chunks.masked_fill_(envs[:, None, None], 0.0)
        self._begins_to_wait |= envs
