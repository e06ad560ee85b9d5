# SPDX-License-Identifier: BSD-3-Clause
"""Demonstrations as the network takes them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..data import Demonstrations
from ..gr00t import Gr00tProcessor
from .augmentation import Augmentation

BLOCK = 4096
"""Frames whose chunks are normalised at once."""


def split_episodes(num_episodes: int, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Numbers of the episodes to train on and of those held out: a random ``share``, at least one of several."""
    count = min(num_episodes - 1, max(1, round(share * num_episodes))) if share > 0 else 0
    order = torch.randperm(num_episodes, generator=generator)
    return order[count:].sort().values, order[:count].sort().values


class Samples:
    """Demonstrations as the network takes them; numbers of the frames select.

    Args:
        data: The demonstrations.
        processor: Of the network, with the modality, the statistics and the instructions of ``data``.
        horizon: Actions H of a chunk.
        device: Where states, actions and prompts are kept; pictures stay in main memory, or on disk where they are
            larger, and follow per batch.
    """

    def __init__(self, data: Demonstrations, processor: Gr00tProcessor, horizon: int, device: torch.device):
        self.processor, self.device = processor.to(device), device
        modality = processor.modality
        assert modality is not None
        self.views = [data.pictures[key] for key in modality.video]
        self.cache = data.cache if self.views else None
        """What decodes pictures that are larger than memory; None where they are all in it."""
        self.task = data.task.to(device)
        self.state = processor.state(data.state.to(device))  # [F, 1, max_state_dim]
        # The padding of the action's dimensions is added per batch: of all frames at once it would take gigabytes.
        self._actions = torch.cat(
            [
                processor.pad_action(data.chunks(frames, horizon).to(device), data.state[frames].to(device))[
                    ..., : modality.action_dim
                ].clone()
                for frames in torch.arange(len(data)).split(BLOCK)
            ]
        )  # [F, H, A]
        head = processor.config.action_head
        self._padding = head.action_dim - modality.action_dim
        self.counted = torch.arange(head.action_dim, device=device) < modality.action_dim
        """Dimensions of a chunk that the loss counts, bool [max_action_dim]."""

    def actions(self, frames: Tensor) -> Tensor:
        """Normalised chunks of ``frames`` [B], zero padded: [B, H, max_action_dim]."""
        return nn.functional.pad(self._actions[frames], (0, self._padding))

    def in_turn(self, frames: Tensor, count: int) -> Iterator[Tensor]:
        """``frames`` [F], ``count`` at a time; pictures of the next are decoded meanwhile."""
        batches = frames.split(count)
        for batch, following in zip(batches, (*batches[1:], frames[:0]), strict=True):
            if self.cache is not None:
                self.cache.prefetch(torch.cat((batch, following)).cpu())
            yield batch

    def pixels(self, frames: Tensor, augmentation: Augmentation | None = None) -> Tensor | None:
        """Pictures of ``frames`` [B] as the backbone takes them, changed at random if asked; None without cameras."""
        if not self.views:
            return None
        rows = frames.cpu()
        views = [view[rows].to(self.device, non_blocking=True) for view in self.views]
        if augmentation is None:
            return self.processor.images(views)
        return self.processor.images(augmentation(views), is_cropped=True)
