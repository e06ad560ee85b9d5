# SPDX-License-Identifier: BSD-3-Clause
"""Recurrent rsl_rl models: their hidden states during the rollout, and whole sequences in the update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from rsl_rl.models import MLPModel, RNNModel
from tensordict import TensorDict
from torch import nn

from .policy import StepPolicy

State = tuple[torch.Tensor, ...]
"""Hidden state: h (GRU) or h and c (LSTM), float32 [L, N, H] each, with L layers and N envs."""


class RecurrentMemory:
    """Keeps the hidden states of all envs, and replays what they did from the states that the iteration began with.

    A sequence is what one env does in one iteration until its episode ends. It starts from zeros, or from the state
    that the iteration began with where the episode is older. Every record says which sequence it belongs to and how
    many decisions came before it there ("sequence" and "sequence_step", int64 [B]); states of later steps are not
    stored: the update computes them from the observations, under the current weights.

    Between calls the models themselves hold no state, so that playing with one in between disturbs nothing.

    Args:
        models: The recurrent models by name; any others may take part in :meth:`peek` and :meth:`replay`.
        num_envs: Number of envs N.
        device: Device of the states.
    """

    def __init__(self, models: Mapping[str, RNNModel], num_envs: int, device: str | torch.device) -> None:
        self.models, self.num_envs, self.device = dict(models), num_envs, device
        self._states: dict[nn.Module, State] = {m: _zeros(m, num_envs, device) for m in self.models.values()}
        self.begin()

    # -- rollout ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin an iteration: the present states are those from which it will be replayed."""
        self._starts = dict(self._states)  # never changed in place
        self._sequence = torch.arange(self.num_envs, device=self.device)
        self._step = torch.zeros_like(self._sequence)

    def recall(self, ids: torch.Tensor, observed: TensorDict) -> None:
        """Let the models go on where the envs ``ids`` [B] stand, and note in ``observed`` [B] where that is."""
        for model in self.models.values():
            self._hand_over(model, ids)
        observed["sequence"], observed["sequence_step"] = self._sequence[ids], self._step[ids]

    def keep(self, ids: torch.Tensor) -> None:
        """Take back the models' states after the envs ``ids`` have decided."""
        for model in self.models.values():
            pairs = zip(self._states[model], _as_tuple(model.get_hidden_state()), strict=True)
            self._states[model] = tuple(old.index_copy(1, ids, new) for old, new in pairs)
            model.reset()
        self._step = self._step.index_add(0, ids, torch.ones_like(ids))

    def reset(self, dones: torch.Tensor | None = None) -> None:
        """Start from zeros where ``dones`` [N] is not zero (everywhere without it): a new episode has no past."""
        ended = torch.ones_like(self._step, dtype=torch.bool) if dones is None else dones.bool()
        for model, state in self._states.items():
            self._states[model] = tuple(part.masked_fill(ended[None, :, None], 0.0) for part in state)
        # the k-th sequence of env i has the number k N + i
        self._sequence = self._sequence + self.num_envs * ended
        self._step = self._step.masked_fill(ended, 0)

    def peek(self, model: nn.Module, obs: TensorDict, ids: torch.Tensor | None = None) -> torch.Tensor:
        """Return a model's output [B, ...] for observations of the envs ``ids`` (all without it); states stay."""
        if model not in self._states:
            return model(obs)
        self._hand_over(model, slice(None) if ids is None else ids)
        output = model(obs)
        model.reset()  # type: ignore[operator]
        return output

    def _hand_over(self, model: Any, ids: torch.Tensor | slice) -> None:
        model.reset(hidden_state=_as_rsl_rl(tuple(part[:, ids] for part in self._states[model])))

    # -- update ----------------------------------------------------------------------------------------------------

    def replay(self, model: Any, record: TensorDict) -> torch.Tensor:
        """Return what a model's network says at stored decisions [B, ...]; differentiable through whole sequences.

        Args:
            model: A model; one without a state sees each decision alone.
            record: Decisions [B] in any order; with each of a sequence, all before it.
        """
        if model not in self._states:
            return model(record)
        number, column = record["sequence"].unique(return_inverse=True)
        step = record["sequence_step"]
        shape = (int(step.max()) + 1, len(number))  # the longest sequence T, the number of sequences S
        padded = TensorDict({}, shape)
        for group in model.obs_groups:
            padded[group] = (
                record[group].new_zeros(*shape, *record[group].shape[1:]).index_put((step, column), record[group])
            )
        # a mask without gaps: rsl_rl's own unpadding wants all envs to have the same number of steps
        everything = torch.ones(shape, dtype=torch.bool, device=step.device)
        latent = model.get_latent(padded, everything, _as_rsl_rl(self._starts_of(model, number)))
        return model.mlp(latent.view(*shape, -1)[step, column])

    def _starts_of(self, model: nn.Module, number: torch.Tensor) -> State:
        """Return the states in which the sequences ``number`` [S] started, [L, S, H] each."""
        older = (number < self.num_envs)[None, :, None]  # the episode was under way when the iteration began
        return tuple(torch.where(older, part[:, number % self.num_envs], 0.0) for part in self._starts[model])

    def in_sequence(self, batch: TensorDict) -> TensorDict:
        """Return the records [B] env by env, each env's in the order of time."""
        return batch[self.env_of(batch).argsort(stable=True)]

    def env_of(self, batch: TensorDict) -> torch.Tensor:
        """Return the env of each record, int64 [B]."""
        return batch["sequence"] % self.num_envs

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, list[torch.Tensor]]:
        """Return the present states by the models' names."""
        return {name: list(self._states[model]) for name, model in self.models.items()}

    def load_state_dict(self, state: Mapping[str, list[torch.Tensor]], started: torch.Tensor) -> None:
        """Restore what :meth:`state_dict` returned; states of another shape, or of other envs, become zeros.

        Args:
            state: What was saved.
            started: Envs that start an episode, bool [N]: those have no past.
        """
        for name, model in self.models.items():
            saved = state.get(name, [])
            if [part.shape for part in saved] == [part.shape for part in self._states[model]]:
                self._states[model] = tuple(part.to(self.device) for part in saved)
            else:
                self._states[model] = _zeros(model, self.num_envs, self.device)
        self.reset(started)
        self.begin()


class RecurrentStepPolicy(StepPolicy):
    """:class:`StepPolicy` for an rsl_rl model with a hidden state, which ``memory`` keeps.

    Args:
        model: A stochastic ``RNNModel``.
        obs_groups: Names of the observation groups that actor and critic read.
        memory: Holds the states of ``model``.
    """

    def __init__(self, model: MLPModel, obs_groups: list[str], memory: RecurrentMemory) -> None:
        super().__init__(model, obs_groups)
        self.memory = memory

    def _distribute(self, record: TensorDict) -> None:
        """Replay the sequences up to the stored decisions."""
        self.model.distribution.update(self.memory.replay(self.model, record))  # type: ignore[union-attr]


def _zeros(model: RNNModel, num_envs: int, device: str | torch.device) -> State:
    rnn = model.rnn.rnn
    parts = 2 if isinstance(rnn, nn.LSTM) else 1
    return tuple(torch.zeros(rnn.num_layers, num_envs, rnn.hidden_size, device=device) for _ in range(parts))


def _as_tuple(hidden_state: Any) -> State:
    return hidden_state if isinstance(hidden_state, tuple) else (hidden_state,)


def _as_rsl_rl(state: State) -> Any:
    return state[0] if len(state) == 1 else state
