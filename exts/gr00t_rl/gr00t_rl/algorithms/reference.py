# SPDX-License-Identifier: BSD-3-Clause
"""The frozen reference policy: the actor as it was before training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn


class FrozenReference:
    """Puts the initial weights into an actor for as long as a ``with`` block lasts.

    Only what training changes is kept twice: trained parameters and the moments of normalisers. Of an actor with LoRA
    adapters (peft) not even those: without its adapters it is the base, and they are switched off instead, until other
    weights are adopted.

    Args:
        actor: The actor, with its initial weights.
    """

    def __init__(self, actor: nn.Module) -> None:
        # peft's BaseTunerLayer, known by its attribute, so that peft need not be there
        self._adapters: list[Any] = [m for m in actor.modules() if hasattr(m, "adapter_layer_names")]
        adapted = {p for layer in self._adapters for p in layer.parameters()}
        # owners and names, not tensors: normalisers put new tensors in place of their buffers
        self._owned: dict[str, tuple[nn.Module, str]] = {}
        self._of_adapters: dict[str, tuple[nn.Module, str]] = {}
        seen = set()  # a tensor with two names is swapped once
        for prefix, owner in actor.named_modules():
            for name, tensor in chain(owner._parameters.items(), owner._buffers.items()):
                if tensor is not None and tensor not in seen and _changes(owner, name, tensor):
                    table = self._of_adapters if tensor in adapted else self._owned
                    table[f"{prefix}.{name}".lstrip(".")] = (owner, name)
                    seen.add(tensor)
        self._kept = {key: getattr(*place).detach().clone() for key, place in self._owned.items()}

    def _keep_adapters(self) -> None:
        """Keep adapters of the reference's own from now on: it is not the base any more."""
        self._owned |= self._of_adapters
        self._kept |= {key: getattr(*place).detach().clone() for key, place in self._of_adapters.items()}
        self._adapters, self._of_adapters = [], {}

    def adopt(self) -> None:
        """Take the actor's present weights as the reference, those of adapters among them."""
        self._keep_adapters()
        for key, place in self._owned.items():
            self._kept[key].copy_(getattr(*place).detach())

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return what is kept, by the actor's names."""
        return dict(self._kept)

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises:
            KeyError: If a tensor is missing.
        """
        if self._of_adapters.keys() & state.keys():
            self._keep_adapters()
        for name, tensor in self._kept.items():
            tensor.copy_(state[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the actor be the reference inside the block; storage changes hands, nothing is copied."""
        self._swap()
        # peft freezes adapters with the switch, and lets all learn that it switches on again
        learns = [(p, p.requires_grad) for layer in self._adapters for p in layer.parameters()]
        for layer in self._adapters:
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in self._adapters:
                layer.enable_adapters(True)
            for parameter, learned in learns:
                parameter.requires_grad_(learned)
            self._swap()

    def _swap(self) -> None:
        for key, place in self._owned.items():
            live = getattr(*place)
            live.data, self._kept[key] = self._kept[key], live.data


def _changes(owner: nn.Module, name: str, tensor: torch.Tensor) -> bool:
    """Return whether training changes a tensor: trained parameters, and buffers that a state dict holds (moments)."""
    if isinstance(tensor, nn.Parameter):
        return tensor.requires_grad
    return name not in owner._non_persistent_buffers_set
